package uploader

import (
	"bytes"
	"context"
	"crypto/md5"
	"errors"
	"io"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/fastimage/fastimage/internal/cloud"
)

// PutOption configures PutObject.
type PutOption func(*putOptions) error

type putOptions struct {
	md5 *[16]byte
}

// WithContentMD5 sends this digest in place of the body's own, to find out
// whether the service compares: one that does refuses the body with
// ErrBadDigest, at the first attempt. Default: the MD5 of the body.
func WithContentMD5(sum [16]byte) PutOption {
	return func(o *putOptions) error {
		o.md5 = &sum
		return nil
	}
}

// PutObject stores a small object in one piece: Content-MD5 sent, ETag compared
// with the MD5 of the body, retried. The result has Bucket, Key, Size, ETag and
// Encrypted; HeadObject tells the rest.
func (c *Client) PutObject(ctx context.Context, bucket, key string, body []byte, opts ...PutOption) (*ObjectInfo, error) {
	if err := CheckName(bucket, key); err != nil {
		return nil, err
	}
	var o putOptions
	for _, opt := range opts {
		if err := opt(&o); err != nil {
			return nil, err
		}
	}
	b := content{body: bytes.NewReader(body), n: int64(len(body)), sum: md5.Sum(body), claim: o.md5, kind: defaultContentType}
	var etags etagWatch
	out, err := c.put(ctx, bucket, key, b, &etags)
	if err != nil {
		return nil, err
	}
	return &ObjectInfo{Bucket: bucket, Key: key, Size: b.n, ETag: out.etag, Encrypted: !etags.is(etagsDigests), ContentType: b.kind}, nil
}

// content is what put stores.
type content struct {
	body     io.ReadSeeker
	n        int64
	sum      [16]byte
	claim    *[16]byte // sent in place of sum
	kind     string    // Content-Type
	metadata map[string]string
}

// stored is what a service says of what put stored.
type stored struct {
	etag    string
	version string // "" in a bucket without versions
}

const defaultContentType = "application/octet-stream"

// put is one PutObject with retries.
func (c *Client) put(ctx context.Context, bucket, key string, in content, etags *etagWatch) (got stored, err error) {
	return c.putWithin(ctx, c.retry, bucket, key, in, etags)
}

func (c *Client) putWithin(ctx context.Context, p cloud.Policy, bucket, key string, in content, etags *etagWatch) (got stored, err error) {
	claim := in.sum
	if in.claim != nil {
		claim = *in.claim
	}
	t := target{op: "PutObject", bucket: bucket, key: key}
	differs := false
	err = c.doWithin(ctx, p, t, func(ctx context.Context) error {
		if _, err := in.body.Seek(0, io.SeekStart); err != nil {
			return err
		}
		out, err := c.api.PutObject(ctx, &s3.PutObjectInput{
			Bucket: &bucket, Key: &key, Body: in.body, ContentLength: &in.n,
			ContentMD5: contentMD5(claim), ContentType: &in.kind, Metadata: in.metadata,
		})
		if err != nil && in.claim != nil && errors.Is(t.fail(err), ErrBadDigest) {
			return &finalError{err} // what was asked for
		}
		if err != nil {
			return err
		}
		got = stored{trimETag(out.ETag), aws.ToString(out.VersionId)}
		_, err = etags.check(ctx, c, bucket, got.etag, in.sum, string(out.ServerSideEncryption))
		differs = err != nil
		return err
	})
	if differs {
		// The service took it without comparing, and what it has is not what
		// was sent: nothing damaged stays.
		clean, cancel := cleanupContext(ctx)
		defer cancel()
		if derr := c.deleteVersion(clean, bucket, key, got.version); derr != nil {
			err = errors.Join(err, cleanupError(derr))
		}
	}
	return got, err
}
