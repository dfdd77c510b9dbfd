package uploader

// LockTaken and LocksMissing sort the errors of locks.
var (
	LockTaken    = lockTaken
	LocksMissing = locksMissing
)

// EscapePath escapes the key of a copy source.
var EscapePath = escapePath
