package uploader

import (
	"context"
	"crypto/md5"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"regexp"
	"strings"
	"sync/atomic"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// trimETag returns an ETag without its quotes and without the W/ that a proxy
// puts before it. The case stays as it is: the service wants it back so.
func trimETag(s *string) string {
	etag := strings.TrimSpace(aws.ToString(s))
	if len(etag) > 2 && strings.EqualFold(etag[:2], "W/") {
		etag = etag[2:]
	}
	return strings.Trim(etag, `"`)
}

// sameETag compares two ETags, or one with a digest: services write hexadecimal
// digits in both cases. An empty one is like no other.
func sameETag(a, b string) bool { return a != "" && strings.EqualFold(a, b) }

var (
	md5ETag   = regexp.MustCompile(`^[0-9a-fA-F]{32}$`)
	partsETag = regexp.MustCompile(`^[0-9a-fA-F]{32}-([0-9]+)$`)
)

// joinsParts reports whether an ETag has the form md5-N of an object of n parts.
// In any other form it is no digest that we know.
func joinsParts(etag string, n int) bool {
	m := partsETag.FindStringSubmatch(etag)
	return m != nil && m[1] == fmt.Sprint(n)
}

// etagKind is what is known of a bucket's ETags.
type etagKind int32

const (
	etagsUnknown etagKind = iota
	etagsDigests          // MD5 of what was sent: one was
	etagsOpaque           // something else: the bucket encrypts
)

// etagWatch learns from each part what the ETags of an upload are. With SSE-S3,
// which every new bucket of AWS reports, they are digests; with other
// encryption they are not.
type etagWatch struct{ kind atomic.Int32 }

func (w *etagWatch) is(k etagKind) bool { return etagKind(w.kind.Load()) == k }
func (w *etagWatch) set(k etagKind)     { w.kind.Store(int32(k)) }

// check compares an ETag with the digest of what was sent. matches is false
// without an error where nothing can be said.
func (w *etagWatch) check(ctx context.Context, c *Client, bucket, etag string, sum [16]byte, sse string) (matches bool, err error) {
	want := hex.EncodeToString(sum[:])
	if sameETag(etag, want) {
		w.set(etagsDigests)
		return true, nil
	}
	if etag != "" && !w.is(etagsDigests) && (w.is(etagsOpaque) || sse != "" || c.bucketEncryption(ctx, bucket) != "") {
		// A match, of another part under way perhaps, is proof of the contrary.
		w.kind.CompareAndSwap(int32(etagsUnknown), int32(etagsOpaque))
		return false, nil
	}
	return false, &markedError{ErrBadDigest, fmt.Errorf("stored with ETag %q, sent MD5 %s", clip(etag), want)}
}

// bucketEncryption asks for the algorithm of default encryption; "" if there is
// none, or the service does not say. It is asked only when an ETag differs.
func (c *Client) bucketEncryption(ctx context.Context, bucket string) string {
	out, err := c.api.GetBucketEncryption(ctx, &s3.GetBucketEncryptionInput{Bucket: &bucket})
	if err != nil || out.ServerSideEncryptionConfiguration == nil {
		return ""
	}
	for _, r := range out.ServerSideEncryptionConfiguration.Rules {
		if d := r.ApplyServerSideEncryptionByDefault; d != nil && d.SSEAlgorithm != "" {
			return string(d.SSEAlgorithm)
		}
	}
	return ""
}

// finalETag is md5(concatenated part MD5s)-N; s.mu is held.
func (s *session) finalETag(n int) string {
	h := md5.New()
	for i := 1; i <= n; i++ {
		sum := s.sums[int32(i)]
		h.Write(sum[:])
	}
	return fmt.Sprintf("%x-%d", h.Sum(nil), n)
}

func contentMD5(sum [16]byte) *string {
	return aws.String(base64.StdEncoding.EncodeToString(sum[:]))
}
