package uploader

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path"
	"strings"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// zeroObject is the one object of zeros, as long as a part, from which the
// server makes the parts that are all zeros. It is made when the first such
// part comes and removed when the upload ends.
type zeroObject struct {
	mu      sync.Mutex // guards all; held while the object is made
	key     string     // "" until something may have been stored
	ready   bool
	refused bool // the service does not copy: send the zeros
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
		func(etag, sse string) error { return s.check(ctx, etag, p.sum, sse) })
	if err == nil {
		return etag, true, nil
	}
	if refusal(err) {
		// A range of the source may be refused where the whole is not.
		if p.n < s.partSize {
			return "", false, nil
		}
		s.zero.mu.Lock()
		defer s.zero.mu.Unlock()
		return "", false, s.noCopy(ctx)
	}
	return "", false, err
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
	err = c.do(withStall(ctx, 10*c.stall), t, func(ctx context.Context) error {
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

// refusal: the service cannot copy, or not this; sending still works. A missing
// upload or bucket is no refusal, sending would fail alike.
func refusal(err error) bool {
	var e *Error
	if !errors.As(err, &e) || errors.Is(err, ErrNoSuchUpload) || errors.Is(err, ErrNoSuchBucket) {
		return false
	}
	switch e.StatusCode {
	case http.StatusNotImplemented, http.StatusMethodNotAllowed, http.StatusForbidden, http.StatusBadRequest:
		return !errors.Is(err, ErrCredentials)
	}
	return errors.Is(err, ErrBadDigest) || errors.Is(err, ErrNoSuchKey)
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
	sum := zeroSum(s.partSize)
	if z.key != "" {
		// An earlier run made it, or was about to.
		info, err := s.c.HeadObject(ctx, s.bucket, z.key)
		if err == nil && info.Size == s.partSize && (sameDigest(info.ETag, hex.EncodeToString(sum[:])) || s.encrypted.Load()) {
			z.ready = true
			return true, nil
		}
	} else {
		z.key = zeroKey(s.key)
	}
	s.mu.Lock()
	s.st.ZeroKey = z.key
	s.mu.Unlock()
	if err := s.saveState(ctx); err != nil {
		return false, err
	}
	body := io.NewSectionReader(zeros{}, 0, s.partSize)
	_, _, err := s.c.put(ctx, s.bucket, z.key, content{body: body, n: s.partSize, sum: sum, kind: defaultContentType})
	if err != nil {
		if refusal(err) {
			return false, s.noCopy(ctx) // may write its object only, say
		}
		return false, err
	}
	z.ready = true
	return true, nil
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

// escapePath escapes a key for the copy source header.
func escapePath(key string) string {
	segs := strings.Split(key, "/")
	for i, s := range segs {
		segs[i] = url.PathEscape(s)
	}
	return strings.Join(segs, "/")
}
