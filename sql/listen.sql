-- Subscribes the control session to hints. No parameters, no rows.
LISTEN sexton
