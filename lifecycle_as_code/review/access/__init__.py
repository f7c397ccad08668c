"""Who may do what with a resource, before and after a plan. Pure."""
