package imstest

import (
	"bytes"
	"crypto/md5"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/xml"
	"errors"
	"fmt"
	"hash"
	"io"
	"net"
	"net/http"
	"strings"

	"github.com/johannesboyne/gofakes3"
)

// obsError is an answer of the object store that gofakes3 has no code for.
type obsError struct {
	Status        int
	Code, Message string
}

func (e *obsError) Error() string { return e.Code + ": " + e.Message }

const (
	maxKey    = 1024
	maxPut    = 5 << 30
	maxXML    = 8 << 20
	s3XMLNS   = "http://s3.amazonaws.com/doc/2006-03-01/"
	unsigned  = "UNSIGNED-PAYLOAD"
	copyFrom  = "X-Amz-Copy-Source"
	copyRange = "X-Amz-Copy-Source-Range"
)

// obs is the object store: gofakes3 for buckets, listings and reads, and around
// it what gofakes3 lacks or lets pass.
type obs struct {
	*Server
	s3 http.Handler
}

func newOBS(s *Server) *obs {
	// The skew is checked with our own clock.
	return &obs{Server: s, s3: gofakes3.New(backend{s.store}, gofakes3.WithTimeSkewLimit(0)).Server()}
}

func (o *obs) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	aw := &answer{ResponseWriter: w, id: requestID(r)}
	aw.header()
	if err := o.serve(aw, r); err != nil {
		writeOBSError(aw, r, err)
	}
	aw.header()
}

func (o *obs) serve(w http.ResponseWriter, r *http.Request) error {
	if err := refuseChunked(r); err != nil {
		return err
	}
	if err := o.checkV4(r); err != nil {
		return err
	}
	bucket, key, err := address(r)
	if err != nil {
		return err
	}
	if len(key) > maxKey {
		return gofakes3.ErrorMessage(gofakes3.ErrKeyTooLong, "The key is longer than 1024 bytes.")
	}
	if err := checkPutQuery(r, key); err != nil {
		return err
	}
	if err := o.vary(w, r, key); err != nil {
		return err
	}
	b, ok := o.store.bucket(bucket)
	if bucket != "" && !ok && (r.Method != http.MethodPut || key != "") {
		return gofakes3.BucketNotFound(bucket)
	}
	return o.route(w, r, b, bucket, key)
}

func (o *obs) route(w http.ResponseWriter, r *http.Request, b bucket, bucket, key string) error {
	q := r.URL.Query()
	switch {
	case key == "" && r.Method == http.MethodGet && q.Has("location"):
		return writeXML(w, struct {
			XMLName xml.Name `xml:"LocationConstraint"`
			NS      string   `xml:"xmlns,attr"`
			Region  string   `xml:",chardata"`
		}{NS: s3XMLNS, Region: b.Region})
	case key == "" && r.Method == http.MethodGet && q.Has("encryption"):
		return o.bucketEncryption(w)
	case key == "" && r.Method == http.MethodHead && bucket != "":
		w.Header().Set("X-Amz-Bucket-Region", b.Region)
		w.Header().Set("X-Amz-Storage-Class", b.StorageClass)
		return nil
	case q.Has("uploads") || q.Has("uploadId"):
		return o.multipart(w, r, bucket, key)
	case r.Method == http.MethodPut && key != "" && r.Header.Get(copyFrom) == "":
		return o.putObject(w, r, bucket, key)
	case r.Method == http.MethodPost && !q.Has("delete"):
		return gofakes3.ErrMethodNotAllowed
	case r.Method == http.MethodPost, r.Method == http.MethodPut:
		body, err := readVerified(r)
		if err != nil {
			return err
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
	}
	return o.delegate(w, r, bucket, key)
}

// delegate hands a checked request to gofakes3, which knows path style only.
func (o *obs) delegate(w http.ResponseWriter, r *http.Request, bucket, key string) error {
	if key != "" && (r.Method == http.MethodGet || r.Method == http.MethodHead) {
		if err := o.conditions(r, bucket, key); err != nil {
			return err
		}
	}
	r2 := r.Clone(r.Context())
	r2.URL.Path = "/" + bucket
	if key != "" {
		r2.URL.Path += "/" + key
	}
	r2.URL.RawPath = ""
	r2.Header.Del("If-None-Match")
	o.s3.ServeHTTP(w, r2)
	return nil
}

func (o *obs) conditions(r *http.Request, bucket, key string) error {
	match, none := r.Header.Get("If-Match"), r.Header.Get("If-None-Match")
	if match == "" && none == "" {
		return nil
	}
	or, err := o.store.open(bucket, key)
	if err != nil {
		return err
	}
	defer or.Close()
	if match != "" && match != "*" && strings.Trim(match, `"`) != or.ETag {
		return gofakes3.ErrorMessage(gofakes3.ErrPreconditionFailed, "The ETag is another.")
	}
	if none != "" && (none == "*" || strings.Trim(none, `"`) == or.ETag) {
		return gofakes3.ErrNotModified
	}
	return nil
}

func (o *obs) putObject(w http.ResponseWriter, r *http.Request, bucket, key string) error {
	class := r.Header.Get("X-Amz-Storage-Class")
	switch class {
	case "":
		b, _ := o.store.bucket(bucket)
		class = b.StorageClass
	case standardClass, "WARM", "COLD", "STANDARD_IA", "GLACIER", "DEEP_ARCHIVE":
	default:
		return &obsError{400, "InvalidStorageClass", "The storage class is not known."}
	}
	rc, err := o.receiveBody(r, maxPut)
	if err != nil {
		return err
	}
	ob, err := o.store.putReceived(bucket, key, rc, userMeta(flat(r.Header)), class)
	if err != nil {
		return err
	}
	w.Header().Set("ETag", `"`+ob.ETag+`"`)
	return nil
}

func flat(h http.Header) map[string]string {
	m := make(map[string]string, len(h))
	for k := range h {
		m[k] = h.Get(k)
	}
	return m
}

// address splits host and path into bucket and key. Path style is for loopback
// names and IP literals; domain names are virtual-hosted, and the bare endpoint
// domain answers nothing but the list of buckets and HEAD.
func address(r *http.Request) (bucket, key string, err error) {
	host := r.Host
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	host = strings.Trim(strings.ToLower(host), "[]")
	path := strings.TrimPrefix(r.URL.Path, "/")
	bucket, key, _ = strings.Cut(path, "/")
	if host == "localhost" || net.ParseIP(host) != nil {
		return bucket, key, nil
	}
	if strings.HasPrefix(host, "obs.") {
		switch {
		case path == "" || r.Method == http.MethodHead:
			return bucket, key, nil
		case r.Method == http.MethodPut:
			return "", "", gofakes3.KeyNotFound(key)
		}
		return "", "", &obsError{403, "VirtualHostDomainRequired", "Virtual host domain is required when accessing a specific bucket."}
	}
	if i := strings.LastIndex(host, ".obs."); i > 0 {
		return host[:i], path, nil
	}
	bucket, _, _ = strings.Cut(host, ".")
	return bucket, path, nil
}

func refuseChunked(r *http.Request) error {
	h := r.Header
	bad := strings.Contains(h.Get("Content-Encoding"), "aws-chunked") || len(r.Trailer) > 0 ||
		strings.HasPrefix(h.Get("X-Amz-Content-Sha256"), "STREAMING-")
	for k := range h {
		if strings.HasPrefix(k, "X-Amz-Checksum-") || k == "X-Amz-Sdk-Checksum-Algorithm" || k == "X-Amz-Trailer" || k == "X-Amz-Decoded-Content-Length" {
			bad = true
		}
	}
	if bad {
		return &obsError{400, "XAmzContentSHA256Mismatch", "The provided 'x-amz-content-sha256' header does not match what was computed: chunked bodies and checksum headers are not supported."}
	}
	return nil
}

// checkPutQuery refuses what a PUT does not know, x-id among it, in the way the
// service does.
func checkPutQuery(r *http.Request, key string) error {
	if r.Method != http.MethodPut {
		return nil
	}
	q := r.URL.Query()
	ok := len(q) == 0 || key != "" && len(q) == 2 && q.Has("partNumber") && q.Has("uploadId")
	if !ok {
		return gofakes3.KeyNotFound(key)
	}
	return nil
}

// receiveBody stores a body and verifies it against length, Content-MD5 and the signed hash.
func (o *obs) receiveBody(r *http.Request, limit int64) (received, error) {
	if r.ContentLength < 0 {
		return received{}, gofakes3.ErrorMessage(gofakes3.ErrMissingContentLength, "You must provide the Content-Length HTTP header.")
	}
	if r.ContentLength > limit {
		return received{}, &obsError{400, "EntityTooLarge", "The body is larger than 5 GiB."}
	}
	v, err := newVerifier(r)
	if err != nil {
		return received{}, err
	}
	rc, err := o.store.receive(v.reader(r.Body))
	if err != nil {
		var perr interface{ Timeout() bool }
		if errors.Is(err, io.ErrUnexpectedEOF) || errors.As(err, &perr) {
			err = gofakes3.ErrorMessage(gofakes3.ErrIncompleteBody, "The body ended before its Content-Length.")
		}
		return rc, err
	}
	if err := v.check(rc.md5); err != nil {
		_ = removeFile(rc.file)
		return rc, err
	}
	return rc, nil
}

func readVerified(r *http.Request) ([]byte, error) {
	v, err := newVerifier(r)
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(io.LimitReader(v.reader(r.Body), maxXML+1))
	if err != nil {
		return nil, gofakes3.ErrorMessage(gofakes3.ErrIncompleteBody, "The body could not be read.")
	}
	if len(body) > maxXML {
		return nil, &obsError{400, "EntityTooLarge", "The request body is too large."}
	}
	sum := md5.Sum(body)
	return body, v.check(sum[:])
}

type verifier struct {
	md5, sha []byte
	sum      hash.Hash
}

func newVerifier(r *http.Request) (*verifier, error) {
	v := &verifier{}
	if h, ok := r.Header["Content-Md5"]; ok {
		raw, err := base64.StdEncoding.DecodeString(h[0])
		if err != nil || len(raw) != md5.Size {
			return nil, gofakes3.ErrorMessage(gofakes3.ErrInvalidDigest, "The Content-MD5 you specified is not valid.")
		}
		v.md5 = raw
	}
	if h := r.Header.Get("X-Amz-Content-Sha256"); h != unsigned {
		raw, err := hex.DecodeString(h)
		if err != nil || len(raw) != sha256.Size {
			return nil, gofakes3.ErrorMessage(gofakes3.ErrInvalidArgument, "x-amz-content-sha256 must be UNSIGNED-PAYLOAD or a SHA-256.")
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
		return gofakes3.ErrorMessage(gofakes3.ErrBadDigest, "The Content-MD5 you specified did not match what we received.")
	}
	if v.sum != nil && !bytes.Equal(v.sha, v.sum.Sum(nil)) {
		return &obsError{400, "XAmzContentSHA256Mismatch", "The provided 'x-amz-content-sha256' header does not match what was computed."}
	}
	return nil
}

func writeXML(w http.ResponseWriter, v any) error {
	data, err := xml.Marshal(v)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/xml")
	_, _ = fmt.Fprintf(w, "%s%s", xml.Header, data)
	return nil
}

func writeOBSError(w *answer, r *http.Request, err error) {
	status, code, msg := http.StatusInternalServerError, "InternalError", "Internal error."
	var oe *obsError
	var ge gofakes3.Error
	switch {
	case errors.As(err, &oe):
		status, code, msg = oe.Status, oe.Code, oe.Message
	case errors.As(err, &ge):
		code, status, msg = string(ge.ErrorCode()), ge.ErrorCode().Status(), ge.ErrorCode().Message()
		if _, m, ok := strings.Cut(ge.Error(), ": "); ok && m != "" {
			msg = m
		}
		if ge.ErrorCode() == gofakes3.ErrMethodNotAllowed {
			status = http.StatusMethodNotAllowed
		}
	}
	if r.Method == http.MethodHead || status == http.StatusNotModified {
		w.WriteHeader(status)
		return
	}
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(status)
	_, _ = w.Write(errorXML(r, code, msg))
}

// answer sets what every answer carries, whoever writes it.
type answer struct {
	http.ResponseWriter
	id   string
	sent bool
}

func hostID(id string) string { return base64.StdEncoding.EncodeToString([]byte(id)) }

func (a *answer) header() {
	if a.sent {
		return
	}
	h := a.Header()
	h.Set("Server", "OBS")
	h.Set("X-Amz-Request-Id", a.id)
	h.Set("X-Obs-Request-Id", a.id)
	h.Set("X-Amz-Id-2", hostID(a.id))
	if e := h.Get(etagHeader); e != "" {
		h.Set("ETag", e)
		h.Del(etagHeader)
	}
}

func (a *answer) WriteHeader(status int) {
	a.header()
	a.sent = true
	a.ResponseWriter.WriteHeader(status)
}

func (a *answer) Write(p []byte) (int, error) {
	if !a.sent {
		a.WriteHeader(http.StatusOK)
	}
	return a.ResponseWriter.Write(p)
}

// rival puts another host's object in the place of the one that was just stored.
func (o *obs) rival(r *http.Request) {
	bucket, key, _ := address(r)
	old, err := o.store.open(bucket, key)
	if err != nil {
		return
	}
	size, class := old.Size, old.StorageClass
	_ = old.Close()
	rc, err := o.store.receive(io.LimitReader(rivalBytes{}, size))
	if err == nil {
		_, err = o.store.putReceived(bucket, key, rc, nil, class)
	}
	if err != nil {
		o.logger.Error("rival not stored", "error", err)
	}
}

// rivalBytes is what a rival's object consists of.
type rivalBytes struct{}

func (rivalBytes) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 0xA5
	}
	return len(p), nil
}
