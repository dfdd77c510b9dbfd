package uploader

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/fastimage/fastimage/internal/rangeread"
)

// Object reads a stored object by range requests: small reads through a cache of
// blocks of 64 KiB, 16 MiB in all, larger ones exactly and in pieces of 1 MiB side
// by side. It is pinned to the ETag it had when it was opened: one that is
// replaced meanwhile is ErrObjectChanged. It is safe for concurrent use.
type Object struct {
	c    *Client
	info ObjectInfo
	read *rangeread.Reader
	stop func() bool // watching the context
}

// OpenObject opens an object for reading. When the context ends, so do all reads,
// at once: io.ReaderAt has no context of its own.
func (c *Client) OpenObject(ctx context.Context, bucket, key string) (*Object, error) {
	if err := checkBucket(bucket); err != nil {
		return nil, err
	}
	if key == "" {
		return nil, pkg.Errorf("%w: empty key", ErrInvalidName)
	}
	info, err := c.HeadObject(ctx, bucket, key)
	if err != nil {
		return nil, err
	}
	if info.ETag == "" {
		return nil, badAnswer("HeadObject", bucket, key, "an object without an ETag cannot be held to it")
	}
	o := &Object{c: c, info: *info}
	o.read = rangeread.New(ctx, info.Size, o.fetch)
	o.stop = context.AfterFunc(ctx, func() { o.read.Cancel(cancelCause(ctx)) })
	return o, nil
}

// Size returns the object's size in bytes.
func (o *Object) Size() int64 { return o.info.Size }

// Info describes the object as it was when it was opened.
func (o *Object) Info() ObjectInfo { return o.info }

// Requests returns how many ranges were asked for, and their bytes.
func (o *Object) Requests() (n, bytes int64) { return o.read.Requests() }

// Close ends all reads and waits for them.
func (o *Object) Close() error {
	o.stop()
	return o.read.Close()
}

// ReadAt implements io.ReaderAt.
func (o *Object) ReadAt(p []byte, off int64) (int, error) {
	n, err := o.read.ReadAt(p, off)
	if err != nil && !errors.Is(err, io.EOF) {
		if _, ok := errors.AsType[*Error](err); !ok {
			err = pkg.Errorf("read of obs://%s/%s: %w", o.info.Bucket, o.info.Key, err)
		}
	}
	return n, err
}

// fetch gets one range, with retries.
func (o *Object) fetch(ctx context.Context, p []byte, start int64) error {
	rng := fmt.Sprintf("bytes=%d-%d", start, start+int64(len(p))-1)
	quoted := `"` + o.info.ETag + `"`
	t := target{op: "GetObject", bucket: o.info.Bucket, key: o.info.Key}
	err := o.c.do(ctx, t, func(ctx context.Context) error {
		out, err := o.c.api.GetObject(ctx, &s3.GetObjectInput{
			Bucket: &o.info.Bucket, Key: &o.info.Key, Range: &rng, IfMatch: &quoted,
		})
		if err != nil {
			return err
		}
		defer func() { _ = out.Body.Close() }()
		if err := o.checkAnswer(out, start, len(p)); err != nil {
			return err
		}
		_, err = io.ReadFull(out.Body, p)
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return err
	})
	if errors.Is(err, ErrNoSuchKey) {
		var e *Error
		if errors.As(err, &e) {
			e.Err = &markedError{ErrObjectChanged, e.Err}
		}
	}
	return err
}

// checkAnswer refuses an answer that is of another object or another range: a
// service may ignore If-Match, or Range.
func (o *Object) checkAnswer(out *s3.GetObjectOutput, start int64, n int) error {
	if etag := trimETag(out.ETag); etag != "" && !sameETag(etag, o.info.ETag) {
		return &changedError{clip(etag)}
	}
	cr := aws.ToString(out.ContentRange)
	if cr == "" && start == 0 && aws.ToInt64(out.ContentLength) == o.info.Size {
		return nil
	}
	want := "bytes " + strconv.FormatInt(start, 10) + "-" + strconv.FormatInt(start+int64(n)-1, 10) + "/"
	if !strings.HasPrefix(cr, want) {
		return &finalError{&markedError{ErrAnswer, fmt.Errorf("asked for %s, answer has %q", want, clip(cr))}}
	}
	return nil
}

// changedError is final, though it comes with a success.
type changedError struct{ etag string }

func (e *changedError) Error() string {
	return ErrObjectChanged.Error() + ": its ETag is now " + e.etag
}
func (e *changedError) Unwrap() error { return ErrObjectChanged }
