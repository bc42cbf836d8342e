"""Methods, each as a Task."""
