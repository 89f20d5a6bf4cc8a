"""Tasks: what a head's scores mean, what they learn from, and how good they are (`svf_edge.tasks.task.Task`)."""
