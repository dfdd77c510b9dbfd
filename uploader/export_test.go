package uploader

import "context"

// LockTaken and LocksMissing sort the errors of locks.
var (
	LockTaken    = lockTaken
	LocksMissing = locksMissing
)

// EscapePath escapes the key of a copy source.
var EscapePath = escapePath

// CountParts returns how many parts an unfinished upload has.
func CountParts(ctx context.Context, c *Client, u Upload) (int, error) {
	parts, err := c.listParts(ctx, u.Bucket, u.Key, u.UploadID)
	return len(parts), err
}
