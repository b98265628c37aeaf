"""References: CRDS rules that choose them and the files themselves, checked and loaded."""
