package uploader

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/fastimage/fastimage/internal/cloud"
)

// zeroObject is the one object of zeros, as long as a part, from which the
// server makes the parts that are all zeros. It is made when the first such
// part comes and removed when the upload ends.
type zeroObject struct {
	mu      sync.Mutex // guards all; held while the object is made
	key     string     // "" until something may have been stored
	version string     // of it, in a bucket with versions
	ready   bool
	refused bool // the service does not copy: send the zeros
}

// copyPolicy is the small budget of what an upload can do without.
func (c *Client) copyPolicy() cloud.Policy {
	p := c.retry
	if p.Budget == 0 || p.Budget > 15*time.Second {
		p.Budget = 15 * time.Second
	}
	if p.Attempts == 0 || p.Attempts > 3 {
		p.Attempts = 3
	}
	return p
}

// copyZeros makes a part of zeros on the server; ok is false if the service
// does not do that.
func (s *session) copyZeros(ctx context.Context, num int32, p *part) (etag string, ok bool, err error) {
	if ok, err := s.ensureZeros(ctx); !ok || err != nil {
		return "", false, err
	}
	rng := ""
	if p.n < s.partSize {
		rng = fmt.Sprintf("bytes=0-%d", p.n-1)
	}
	etag, err = s.c.copyPart(ctx, s.target("UploadPartCopy", num), s.uploadID, s.zero.key, rng,
		func(etag, sse string) error { return s.check(ctx, num, etag, p.sum, sse) })
	if err == nil {
		return etag, true, nil
	}
	if ctx.Err() != nil || !dispensable(err) {
		return "", false, err
	}
	// A range of the source may be refused where the whole is not.
	if p.n < s.partSize {
		return "", false, nil
	}
	s.zero.mu.Lock()
	defer s.zero.mu.Unlock()
	return "", false, s.noCopy(ctx)
}

// copyPart makes a part from an object of the same bucket, or from a range of it.
func (c *Client) copyPart(ctx context.Context, t target, id, source, rng string, check func(etag, sse string) error) (etag string, err error) {
	in := &s3.UploadPartCopyInput{
		Bucket: &t.bucket, Key: &t.key, UploadId: &id, PartNumber: &t.part,
		CopySource: aws.String(t.bucket + "/" + escapePath(source)),
	}
	if rng != "" {
		in.CopySourceRange = &rng
	}
	err = c.doWithin(cloud.Patient(ctx, 10*c.stall), c.copyPolicy(), t, func(ctx context.Context) error {
		out, err := c.api.UploadPartCopy(ctx, in)
		if err != nil {
			return err
		}
		if out.CopyPartResult == nil {
			return io.ErrUnexpectedEOF // a cut answer
		}
		etag = trimETag(out.CopyPartResult.ETag)
		return check(etag, string(out.ServerSideEncryption))
	})
	return etag, err
}

// dispensable reports whether an upload can do without what failed, by sending
// its zeros: whatever the service said, unless it concerns what sending needs
// too, the upload, the bucket or the credentials. A signature that is wrong for
// this request alone is no matter of the credentials.
func dispensable(err error) bool {
	if errors.Is(err, ErrNoSuchUpload) || errors.Is(err, ErrNoSuchBucket) || is[*PermanentError](err) {
		return false
	}
	e, ok := errors.AsType[*Error](err)
	return ok && (!errors.Is(err, ErrCredentials) || e.Code == "SignatureDoesNotMatch")
}

// noCopy remembers, for later runs too, that the service does not copy; s.zero.mu
// is held.
func (s *session) noCopy(ctx context.Context) error {
	s.zero.refused = true
	s.mu.Lock()
	s.st.NoCopy = true
	s.mu.Unlock()
	return s.saveState(ctx)
}

// ensureZeros makes the zero object once.
func (s *session) ensureZeros(ctx context.Context) (bool, error) {
	z := &s.zero
	z.mu.Lock()
	defer z.mu.Unlock()
	if z.ready || z.refused {
		return z.ready && !z.refused, nil
	}
	if z.key != "" {
		if s.foundZeros(ctx) {
			return true, nil
		}
	} else if err := s.nameZeros(ctx, zeroKey(s.key), ""); err != nil {
		return false, err
	}
	body := io.NewSectionReader(zeros{}, 0, s.partSize)
	got, err := s.c.putWithin(ctx, s.c.copyPolicy(), s.bucket, z.key,
		content{body: body, n: s.partSize, sum: zeroSum(s.partSize), kind: defaultContentType}, &s.etags)
	if err == nil {
		z.ready = true
		if got.version == "" {
			return true, nil
		}
		return true, s.nameZeros(ctx, z.key, got.version)
	}
	if ctx.Err() != nil || !dispensable(err) {
		return false, err
	}
	if !ambiguous(err) { // refused, because the keys may write their object only, say: there is none to remove
		if err := s.nameZeros(ctx, "", ""); err != nil {
			return false, err
		}
	}
	return false, s.noCopy(ctx)
}

// foundZeros looks for the object that an earlier run made, or was about to;
// s.zero.mu is held.
func (s *session) foundZeros(ctx context.Context) bool {
	z := &s.zero
	info, err := s.c.HeadObject(ctx, s.bucket, z.key)
	if err != nil || info.Size != s.partSize {
		return false
	}
	sum := zeroSum(s.partSize)
	z.ready = sameETag(info.ETag, hex.EncodeToString(sum[:])) || s.etags.is(etagsOpaque)
	if info.version != "" {
		z.version = info.version
	}
	return z.ready
}

// nameZeros notes the zero object's name before it is made, and its version
// after that; s.zero.mu is held.
func (s *session) nameZeros(ctx context.Context, key, version string) error {
	s.zero.key, s.zero.version = key, version
	s.mu.Lock()
	s.st.ZeroKey, s.st.ZeroVersion = key, version
	s.mu.Unlock()
	return s.saveState(ctx)
}

// removeZeros removes the zero object, in a bucket with versions for good.
func (s *session) removeZeros(ctx context.Context) error {
	z := &s.zero
	if z.key == "" {
		return nil
	}
	if err := s.c.deleteVersion(ctx, s.bucket, z.key, z.version); err != nil {
		return err
	}
	z.key, z.version, z.ready = "", "", false
	s.mu.Lock()
	s.st.ZeroKey, s.st.ZeroVersion = "", ""
	s.mu.Unlock()
	s.saving.Lock()
	defer s.saving.Unlock()
	s.unsaved = true
	return nil
}

const zeroName = ".zeros-"

// isZeroKey keeps a state that was tampered with from naming another object to
// remove.
func isZeroKey(key string) bool { return strings.HasPrefix(path.Base(key), zeroName) }

// zeroKey names the zero object beside the object, under a name of its own.
func zeroKey(key string) string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails (crypto/rand)
	name := zeroName + hex.EncodeToString(b[:])
	if dir := path.Dir(key); dir != "." && dir != "/" && len(dir)+1+len(name) <= maxKeyBytes {
		return dir + "/" + name
	}
	return name
}

// escapePath escapes a key for the copy source header: all but RFC 3986's
// unreserved characters, as some services take a "+" for a space.
func escapePath(key string) string {
	var b strings.Builder
	for _, c := range []byte(key) {
		if 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte("-._~/", c) >= 0 {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}
