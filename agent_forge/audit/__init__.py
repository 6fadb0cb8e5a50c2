"""Auditing a grader: right answers must pass however they are phrased, wrong ones must not."""

from agent_forge.audit.check import Audit, Tally, audit

__all__ = ["Audit", "Tally", "audit"]
