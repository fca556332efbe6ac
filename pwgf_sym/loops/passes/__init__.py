"""Passes: functions from statements to statements, one file each; any target may use them."""
