"""The read side: answers from what was signed before. It holds no key and cannot write."""
