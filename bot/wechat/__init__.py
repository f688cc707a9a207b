"""WeChat Official Accounts: what their pushes mean and how they are answered."""
