"""The two ways to sign a PostObject policy, as pure functions named for the specification's steps."""
