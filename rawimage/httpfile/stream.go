package httpfile

import (
	"context"
	"errors"
	"io"
	"net/http"
)

// Stream reads the file from its start to its end, with one request. It is for
// servers without ranges: what breaks off cannot be continued. An end before the
// length that the server named is [ErrTruncated].
func (f *File) Stream(ctx context.Context) (io.ReadCloser, error) {
	var body io.ReadCloser
	err := f.retry(ctx, 0, func(ctx context.Context) error {
		resp, err := f.get(ctx, "", version{})
		if err != nil {
			return err
		}
		switch {
		case resp.StatusCode != http.StatusOK:
			err = statusError(resp)
		case versionOf(resp.Header) != f.version || resp.ContentLength != f.size && !f.ranges:
			err = ErrChanged
		}
		if err != nil {
			_ = resp.Body.Close()
			return err
		}
		body = resp.Body
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &stream{f: f, body: body}, nil
}

type stream struct {
	f    *File
	body io.ReadCloser
	pos  int64
}

// Read implements io.Reader.
func (s *stream) Read(p []byte) (int, error) {
	n, err := s.body.Read(p)
	s.pos += int64(n)
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF), err == io.EOF && s.f.size >= 0 && s.pos != s.f.size:
		return n, s.f.failed(s.pos, ErrTruncated)
	case err != nil && err != io.EOF:
		return n, s.f.failed(s.pos, err)
	}
	return n, err
}

// Close ends the request.
func (s *stream) Close() error { return s.body.Close() }
