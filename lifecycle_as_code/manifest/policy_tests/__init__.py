"""Files that test policies, `*.policytest.yaml`."""
