"""How the package was installed, and where work is done that would keep others waiting."""
