package uploader

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
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
	etag, encrypted, err := c.put(ctx, bucket, key, b)
	if err != nil {
		return nil, err
	}
	return &ObjectInfo{Bucket: bucket, Key: key, Size: b.n, ETag: etag, Encrypted: encrypted, ContentType: b.kind}, nil
}

// content is what put stores.
type content struct {
	body  io.ReadSeeker
	n     int64
	sum   [16]byte
	claim *[16]byte // sent in place of sum
	kind  string    // Content-Type
}

const defaultContentType = "application/octet-stream"

// put is one PutObject with retries. encrypted reports that the ETag is no MD5.
func (c *Client) put(ctx context.Context, bucket, key string, in content) (etag string, encrypted bool, err error) {
	claim := in.sum
	if in.claim != nil {
		claim = *in.claim
	}
	t := target{op: "PutObject", bucket: bucket, key: key}
	err = c.do(ctx, t, func(ctx context.Context) error {
		if _, err := in.body.Seek(0, io.SeekStart); err != nil {
			return err
		}
		out, err := c.api.PutObject(ctx, &s3.PutObjectInput{
			Bucket: &bucket, Key: &key, Body: in.body, ContentLength: &in.n,
			ContentMD5: contentMD5(claim), ContentType: &in.kind,
		})
		if err != nil && in.claim != nil && errors.Is(t.wrap(err, 1), ErrBadDigest) {
			return &finalError{err} // what was asked for
		}
		if err != nil {
			return err
		}
		etag = trimETag(out.ETag)
		encrypted, err = c.compare(ctx, bucket, etag, in.sum, string(out.ServerSideEncryption))
		return err
	})
	var e *Error
	if errors.As(err, &e) && e.StatusCode == 0 && errors.Is(err, ErrBadDigest) {
		// The service took it without comparing, and what it has is not what
		// was sent: nothing damaged stays.
		clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupTimeout)
		defer cancel()
		if derr := c.DeleteObject(clean, bucket, key); derr != nil {
			err = errors.Join(err, cleanupError(derr))
		}
	}
	return etag, encrypted, err
}

func contentMD5(sum [16]byte) *string {
	return aws.String(base64.StdEncoding.EncodeToString(sum[:]))
}

// compare holds an ETag against the digest of what was sent. Where the bucket
// encrypts, the ETag is something else and nothing can be said.
func (c *Client) compare(ctx context.Context, bucket, etag string, sum [16]byte, sse string) (encrypted bool, err error) {
	want := hex.EncodeToString(sum[:])
	if sameDigest(etag, want) {
		return false, nil
	}
	if etag != "" && (sse != "" || c.bucketEncrypts(ctx, bucket)) {
		return true, nil
	}
	return false, &markedError{ErrBadDigest, fmt.Errorf("stored with ETag %q, sent MD5 %s", clip(etag), want)}
}

// bucketEncrypts asks for default encryption; a service that does not answer
// has none. It is asked only when an ETag differs.
func (c *Client) bucketEncrypts(ctx context.Context, bucket string) bool {
	out, err := c.api.GetBucketEncryption(ctx, &s3.GetBucketEncryptionInput{Bucket: &bucket})
	return err == nil && out.ServerSideEncryptionConfiguration != nil &&
		len(out.ServerSideEncryptionConfiguration.Rules) > 0
}
