package httpfile

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path"
	"strings"
	"sync"

	"github.com/fastimage/fastimage/internal/cloud"
	"github.com/fastimage/fastimage/internal/rangeread"
)

// File is an open file. All methods may be called concurrently.
type File struct {
	o      *options
	client *cloud.Client
	origin *url.URL // as given, without user and password
	auth   *url.Userinfo

	ranges  bool
	size    int64 // -1: unknown, for a stream only
	version version
	read    *rangeread.Reader // nil without ranges

	mu      sync.Mutex // guards current
	current *url.URL   // where redirects have led
}

// version is what tells one version of a file from another.
type version struct {
	etag     string // as the server sends it, W/ and quotes included
	modified string
}

// Open opens the file at an http or https URL. ctx bounds the opening, and hands
// its values to later requests, which end with Close.
func Open(ctx context.Context, rawURL string, opts ...Option) (*File, error) {
	o, err := newOptions(opts)
	if err != nil {
		return nil, err
	}
	u, err := url.Parse(rawURL)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, pkg.Errorf("%w: want http(s)://HOST/PATH", ErrURL)
	}
	f := &File{o: o, auth: u.User, client: &cloud.Client{Transport: o.transport, Stall: o.stall, UserAgent: o.userAgent, Clock: &cloud.Clock{}}}
	u.User, u.Fragment = nil, ""
	f.origin, f.current = u, u
	if err := f.probe(ctx); err != nil {
		return nil, err
	}
	if f.ranges {
		f.read = rangeread.New(ctx, f.size, f.fetch)
	}
	return f, nil
}

// probe learns what there is to know from the answer to one request.
func (f *File) probe(ctx context.Context) error {
	return f.retry(ctx, 0, func(ctx context.Context) error {
		resp, err := f.get(ctx, "bytes=0-0", version{})
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		f.version = versionOf(resp.Header)
		switch resp.StatusCode {
		case http.StatusPartialContent:
			f.ranges = true
			f.size, err = totalOf(resp.Header.Get("Content-Range"), 0, 1)
		case http.StatusRequestedRangeNotSatisfiable:
			err = ErrEmpty
		case http.StatusOK:
			if f.size = resp.ContentLength; f.size == 0 {
				err = ErrEmpty
			}
		default:
			err = statusError(resp)
		}
		return err
	})
}

func versionOf(h http.Header) version { return version{h.Get("ETag"), h.Get("Last-Modified")} }

// Name returns the last element of the URL's path.
func (f *File) Name() string { return path.Base(f.origin.Path) }

// URL returns the URL without user, password and query.
func (f *File) URL() string {
	return (&url.URL{Scheme: f.origin.Scheme, Host: f.origin.Host, Path: f.origin.Path}).String()
}

// Ranges reports whether the server supports ranges. Without them only [File.Stream]
// reads the file.
func (f *File) Ranges() bool { return f.ranges }

// Size returns the bytes of the file. known is false for a stream whose length
// the server does not tell.
func (f *File) Size() (n int64, known bool) { return max(f.size, 0), f.size >= 0 }

// Identity names this version of this file, without holding a secret: the same
// URL with the same ETag or, where there is none, Last-Modified has the same
// identity. It is "" if the server sends neither.
func (f *File) Identity() string {
	v := f.version.etag
	if v == "" {
		v = f.version.modified
	}
	if v == "" {
		return ""
	}
	return fmt.Sprintf("http-%x", sha256.Sum256(fmt.Appendf(nil, "%s\n%d\n%s", f.origin, f.size, v)))
}

// Requests returns how many ranges were asked for, and their bytes.
func (f *File) Requests() (n, bytes int64) {
	if f.read == nil {
		return 0, 0
	}
	return f.read.Requests()
}

// ReadAt implements [io.ReaderAt]. Without ranges it fails with [ErrNoRanges].
func (f *File) ReadAt(p []byte, off int64) (int, error) {
	if f.read == nil {
		return 0, f.failed(off, ErrNoRanges)
	}
	return f.read.ReadAt(p, off)
}

// CheckUnchanged asks the server whether the file is still what it was when it was
// opened; if not, the error matches [ErrChanged].
func (f *File) CheckUnchanged(ctx context.Context) error {
	if !f.ranges {
		return nil // the stream was one version by itself
	}
	var p [1]byte
	return f.fetch(ctx, p[:], 0)
}

// Close ends all requests of ReadAt.
func (f *File) Close() error {
	if f.read == nil {
		return nil
	}
	return f.read.Close()
}

func (f *File) failed(off int64, err error) error {
	if _, ok := errors.AsType[*Error](err); ok {
		return err
	}
	return &Error{URL: f.URL(), Offset: off, Err: err}
}

// fetch is of [rangeread.Fetch]. An attempt that breaks off has the next one begin
// where it ended.
func (f *File) fetch(ctx context.Context, p []byte, off int64) error {
	return f.retry(ctx, off, func(ctx context.Context) error {
		for len(p) > 0 {
			n, err := f.attempt(ctx, p, off)
			p, off = p[n:], off+int64(n)
			if err != nil {
				return err
			}
		}
		return nil
	})
}

func (f *File) attempt(ctx context.Context, p []byte, off int64) (int, error) {
	resp, err := f.get(ctx, fmt.Sprintf("bytes=%d-%d", off, off+int64(len(p))-1), f.version)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	switch resp.StatusCode {
	case http.StatusPartialContent:
	case http.StatusOK:
		if versionOf(resp.Header) != f.version {
			return 0, ErrChanged
		}
		return 0, ErrNoRanges
	case http.StatusPreconditionFailed, http.StatusRequestedRangeNotSatisfiable:
		return 0, ErrChanged
	default:
		return 0, statusError(resp)
	}
	if err := f.checkPart(resp, off, len(p)); err != nil {
		return 0, err
	}
	n, err := io.ReadFull(resp.Body, p)
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// checkPart refuses an answer that is of another version or another range.
func (f *File) checkPart(resp *http.Response, off int64, n int) error {
	got := versionOf(resp.Header)
	if got.etag != "" && got.etag != f.version.etag || got.etag == "" && got.modified != f.version.modified {
		return pkg.Errorf("%w: it had ETag %s, modified %s, and now has %s, %s", ErrChanged,
			cloud.Clip(f.version.etag), cloud.Clip(f.version.modified), cloud.Clip(got.etag), cloud.Clip(got.modified))
	}
	total, err := totalOf(resp.Header.Get("Content-Range"), off, int64(n))
	if err == nil && total != f.size {
		err = pkg.Errorf("%w: it had %d bytes and has %d", ErrChanged, f.size, total)
	}
	if err == nil && resp.ContentLength >= 0 && resp.ContentLength != int64(n) {
		err = pkg.Errorf("%w: %d bytes, asked for %d", ErrAnswer, resp.ContentLength, n)
	}
	return err
}

// totalOf reads a Content-Range that must be of n bytes at off, and returns the
// size of the file.
func totalOf(contentRange string, off, n int64) (int64, error) {
	var first, last, total int64
	if k, _ := fmt.Sscanf(contentRange, "bytes %d-%d/%d", &first, &last, &total); k != 3 ||
		contentRange != fmt.Sprintf("bytes %d-%d/%d", first, last, total) ||
		first != off || last != off+n-1 || total <= last {
		return 0, pkg.Errorf("%w: Content-Range %q for %d bytes at %d", ErrAnswer, cloud.Clip(contentRange), n, off)
	}
	return total, nil
}

func statusError(resp *http.Response) error {
	page, _ := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	return &StatusError{resp.StatusCode, strings.TrimSpace(cloud.HTMLTitle(page)), cloud.RetryAfter(resp.Header)}
}
