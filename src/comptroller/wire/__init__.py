"""The dialects: provider bytes to core values and back; sans-I/O."""
