"""The outside world, played on loopback: an upstream by script, and WeChat's servers. For `posthouse demo` and the tests."""
