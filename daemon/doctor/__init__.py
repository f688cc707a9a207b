"""`posthouse doctor`: probes look and give facts (`facts`), pure modules make findings of them, and `report` shows those."""
