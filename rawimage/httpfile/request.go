package httpfile

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"

	"github.com/fastimage/fastimage/internal/cloud"
)

const maxRedirects = 10

// get sends a GET request and follows redirects. A version that is not empty is
// asked for as a precondition.
func (f *File) get(ctx context.Context, byteRange string, v version) (*http.Response, error) {
	f.mu.Lock()
	u := f.current
	f.mu.Unlock()
	resp, err := f.follow(ctx, u, byteRange, v)
	if err == nil && u != f.origin && expired(resp.StatusCode) {
		_ = resp.Body.Close()
		resp, err = f.follow(ctx, f.origin, byteRange, v)
	}
	return resp, err
}

// expired statuses are those of a signed URL whose time is over.
func expired(status int) bool {
	switch status {
	case http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusGone:
		return true
	}
	return false
}

func (f *File) follow(ctx context.Context, u *url.URL, byteRange string, v version) (*http.Response, error) {
	for range maxRedirects + 1 {
		resp, err := f.send(ctx, u, byteRange, v)
		if err != nil {
			return nil, err
		}
		if !redirects(resp.StatusCode) {
			return f.arrived(u, resp)
		}
		location := resp.Header.Get("Location")
		_ = resp.Body.Close()
		next, err := u.Parse(location)
		if err != nil || location == "" || next.Host == "" || next.Scheme != "http" && next.Scheme != "https" {
			return nil, pkg.Errorf("%w: HTTP %d without a URL that can be followed", ErrRedirect, resp.StatusCode)
		}
		if u.Scheme == "https" && next.Scheme == "http" {
			return nil, pkg.Errorf("%w: from https to http (%s)", ErrRedirect, next.Host)
		}
		next.User, next.Fragment = nil, ""
		u = next
	}
	return nil, pkg.Errorf("%w: more than %d", ErrRedirect, maxRedirects)
}

func redirects(status int) bool {
	switch status {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther, http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		return true
	}
	return false
}

// arrived remembers where the file is, and refuses an encoding.
func (f *File) arrived(u *url.URL, resp *http.Response) (*http.Response, error) {
	if enc := resp.Header.Get("Content-Encoding"); enc != "" && !strings.EqualFold(enc, "identity") && resp.StatusCode < 300 {
		_ = resp.Body.Close()
		return nil, pkg.Errorf("%w: %s", ErrEncoded, cloud.Clip(enc))
	}
	if resp.StatusCode < 300 {
		f.mu.Lock()
		f.current = u
		f.mu.Unlock()
	}
	return resp, nil
}

func (f *File) send(ctx context.Context, u *url.URL, byteRange string, v version) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, pkg.Errorf("%w: %s", ErrURL, u.Host)
	}
	req.Header.Set("Accept-Encoding", "identity")
	if byteRange != "" {
		req.Header.Set("Range", byteRange)
	}
	if strings.HasPrefix(v.etag, `"`) { // weak ones never match
		req.Header.Set("If-Match", v.etag)
	} else if v.etag == "" && v.modified != "" {
		req.Header.Set("If-Unmodified-Since", v.modified)
	}
	if u.Host == f.origin.Host && u.Scheme == f.origin.Scheme {
		for name, values := range f.o.header {
			req.Header[name] = values
		}
		if f.auth != nil {
			password, _ := f.auth.Password()
			req.SetBasicAuth(f.auth.Username(), password)
		}
	}
	return f.client.Do(req)
}

// retry repeats what may pass.
func (f *File) retry(ctx context.Context, off int64, try func(ctx context.Context) error) error {
	policy := cloud.Policy{Budget: f.o.budget}
	_, err := policy.Do(ctx, cloud.Operation{
		Op:  "GET",
		Try: func(ctx context.Context, _ int) error { return try(ctx) },
		Judge: func(err error, n int) cloud.Verdict {
			v := judge(err, n)
			v.Within = policy.FirstContact(err, f.client.Clock)
			return v
		},
	})
	if err == nil || ctx.Err() != nil {
		return err
	}
	return f.failed(off, err)
}

// judge tells what another attempt may cure: everything of the network, and what
// servers answer when they are busy.
func judge(err error, n int) cloud.Verdict {
	if cloud.Permanent(err, n) != nil {
		return cloud.Verdict{}
	}
	for _, final := range []error{ErrURL, ErrChanged, ErrNoRanges, ErrEmpty, ErrEncoded, ErrRedirect, ErrAnswer} {
		if errors.Is(err, final) {
			return cloud.Verdict{}
		}
	}
	if status, ok := errors.AsType[*StatusError](err); ok {
		busy := status.StatusCode >= 500 || status.StatusCode == http.StatusTooManyRequests || status.StatusCode == http.StatusRequestTimeout
		return cloud.Verdict{Again: busy && status.StatusCode != http.StatusNotImplemented, After: status.after}
	}
	return cloud.Verdict{Again: true}
}
