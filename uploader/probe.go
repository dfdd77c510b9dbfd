package uploader

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// ProbeCopy finds out whether the service makes parts by copying, which spares
// an upload its zeros: it begins a multipart upload on the key of an object
// that is there, copies the object as a part and aborts the upload. The object
// stays as it is. A service that does not copy is ErrCopyRefused: uploads work,
// and send their zeros.
func (c *Client) ProbeCopy(ctx context.Context, bucket, key string) (err error) {
	if err := CheckName(bucket, key); err != nil {
		return err
	}
	info, err := c.HeadObject(ctx, bucket, key)
	if err != nil {
		return err
	}
	began := c.clock.Now()
	id, lost, err := c.createUpload(ctx, bucket, key, nil, nil)
	defer func() {
		if cerr := c.endProbe(ctx, bucket, key, id, lost, began); cerr != nil {
			err = errors.Join(err, cleanupError(cerr))
		}
	}()
	if err != nil {
		return err
	}
	_, err = c.copyPart(ctx, target{"UploadPartCopy", bucket, key, 1}, id, key, "", func(etag, _ string) error {
		if sameETag(etag, info.ETag) || info.Encrypted || c.bucketEncryption(ctx, bucket) != "" {
			return nil
		}
		return &finalError{&markedError{ErrBadDigest, fmt.Errorf("copied with ETag %q from one with %q", clip(etag), clip(info.ETag))}}
	})
	if err != nil && ctx.Err() == nil && dispensable(err) {
		return &markedError{ErrCopyRefused, err}
	}
	return err
}

// endProbe leaves nothing of a probe, even if the caller has gone meanwhile.
func (c *Client) endProbe(ctx context.Context, bucket, key, id string, lost bool, began time.Time) error {
	ctx, cancel := cleanupContext(ctx)
	defer cancel()
	var err error
	if id != "" {
		err = c.AbortUpload(ctx, bucket, key, id)
	}
	if lost {
		err = errors.Join(err, c.orphans(ctx, bucket, key, id, began))
	}
	return err
}
