package imstest

import (
	"bytes"
	"crypto/md5"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"hash"
	"io"
	"net"
	"net/http"
	"os"
)

// receiveBody stores a body and verifies it against length, Content-MD5 and the signed hash.
func (c *obsCall) receiveBody(limit int64) (received, error) {
	if c.r.ContentLength < 0 {
		return received{}, refuse("MissingContentLength", "You must provide the Content-Length HTTP header.")
	}
	if c.r.ContentLength > limit {
		return received{}, refuse("EntityTooLarge", "The body is larger than 5 GiB.")
	}
	v, err := newVerifier(c.r)
	if err != nil {
		return received{}, err
	}
	rc, err := c.store.receive(v.reader(c.r.Body))
	if err != nil {
		return rc, incomplete(err)
	}
	if err := v.check(rc.md5); err != nil {
		_ = os.Remove(rc.file)
		return rc, err
	}
	return rc, nil
}

// readBody reads a small body and verifies it.
func (c *obsCall) readBody() ([]byte, error) {
	v, err := newVerifier(c.r)
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(io.LimitReader(v.reader(c.r.Body), maxXML+1))
	if err != nil {
		return nil, incomplete(err)
	}
	if len(body) > maxXML {
		return nil, refuse("EntityTooLarge", "The request body is too large.")
	}
	sum := md5.Sum(body)
	return body, v.check(sum[:])
}

// incomplete turns an error of the connection into the answer to it.
func incomplete(err error) error {
	var ne net.Error
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.As(err, &ne) {
		return refuse("IncompleteBody", "The body ended before its Content-Length.")
	}
	return err
}

// verifier compares a body with the digests that its request gives.
type verifier struct {
	md5, sha []byte
	sum      hash.Hash
}

func newVerifier(r *http.Request) (*verifier, error) {
	v := &verifier{}
	if h, ok := r.Header["Content-Md5"]; ok {
		raw, err := base64.StdEncoding.DecodeString(h[0])
		if err != nil || len(raw) != md5.Size {
			return nil, refuse("InvalidDigest", "The Content-MD5 you specified is not valid.")
		}
		v.md5 = raw
	}
	if h := r.Header.Get("X-Amz-Content-Sha256"); h != unsigned {
		raw, err := hex.DecodeString(h)
		if err != nil || len(raw) != sha256.Size {
			return nil, refuse("InvalidArgument", "x-amz-content-sha256 must be UNSIGNED-PAYLOAD or a SHA-256.")
		}
		v.sha, v.sum = raw, sha256.New()
	}
	return v, nil
}

func (v *verifier) reader(r io.Reader) io.Reader {
	if v.sum == nil {
		return r
	}
	return io.TeeReader(r, v.sum)
}

func (v *verifier) check(sum []byte) error {
	if v.md5 != nil && !bytes.Equal(v.md5, sum) {
		return refuse("BadDigest", "The Content-MD5 you specified did not match what we received.")
	}
	if v.sum != nil && !bytes.Equal(v.sha, v.sum.Sum(nil)) {
		return refuse("XAmzContentSHA256Mismatch", "The provided 'x-amz-content-sha256' header does not match what was computed.")
	}
	return nil
}
