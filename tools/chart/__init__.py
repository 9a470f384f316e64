"""The values of the Helm chart, in one list, and what is made of it."""
