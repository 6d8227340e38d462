"""stub for now"""
from dataclasses import dataclass
from pathlib import Path
from collections import Counter

@dataclass
class Judged:
    episode: object
    questions: int
    says: Counter
    changes: list
    violations: list
    @classmethod
    def of(cls, episode, asked, changes, violations):
        return cls(episode, len(asked), Counter(a.says for a in asked), changes, violations)
    @property
    def summary(self):
        return f"{dict(self.says)} {len(self.violations)} violations; {self.episode.proofs}"
def write(run, folder):
    return folder
