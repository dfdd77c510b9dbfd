package uploader

// WithSmallParts is WithPartSize for stores that take parts of any size: tests
// need less data with them.
func WithSmallParts(n int64) Option {
	return func(o *options) error {
		o.leastPart, o.partSize = 1, n
		return nil
	}
}

// LockTaken and LocksMissing sort the errors of locks.
var (
	LockTaken    = lockTaken
	LocksMissing = locksMissing
)

// EscapePath escapes the key of a copy source.
var EscapePath = escapePath
