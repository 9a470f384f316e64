"""What queues and kinds there are: lanes, rules of kinds, schemas of payloads, pauses."""
