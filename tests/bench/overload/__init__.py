"""The service under overload: readers alone, then beside attackers."""
