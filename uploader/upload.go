package uploader

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"time"

	"golang.org/x/time/rate"
)

// Uploader uploads objects. It is safe for concurrent use.
type Uploader struct {
	c   *Client
	opt options
}

// New returns an uploader for the client. Each upload can override the options.
func New(c *Client, opts ...Option) (*Uploader, error) {
	if c == nil {
		return nil, fmt.Errorf("%w: no client", ErrConfig)
	}
	opt, err := defaultOptions().with(opts)
	if err != nil {
		return nil, err
	}
	return &Uploader{c: c, opt: opt}, nil
}

// Result is what an upload did.
type Result struct {
	Bucket, Key   string
	ETag          string  // of the object, without quotes
	UploadID      string  // "" if the object went up in one piece
	ObjectBytes   int64   // size of the object
	WireBytes     int64   // bytes of content sent, resent ones and the zero object included
	CopiedBytes   int64   // bytes made on the server by copying
	ResumedBytes  int64   // bytes that an earlier run had sent
	Parts         int     // 1 if the object went up in one piece
	CopiedParts   int     // made on the server by copying
	ResumedParts  int     // that an earlier run had sent
	Retries       int     // attempts that failed and were made again
	PartSize      int64   // bytes
	Encrypted     bool    // the bucket encrypts: ETags are no MD5 and were not compared
	RestartReason string  // why an earlier run was not resumed, "" if it was or there was none
	CleanupErr    error   // what could not be removed after a successful upload
	Seconds       float64 // of the whole upload
}

// extents is offered by sparse sources: NextData returns the first range of
// data [start, end) with end > off and start >= off; io.EOF when there is none.
// Everything outside such ranges reads as zeros.
type extents interface {
	NextData(off int64) (start, end int64, err error)
}

// UploadReaderAt uploads size bytes of r. If r also has a method
// NextData(off int64) (start, end int64, err error), holes are not read; parts
// that are all zeros are made on the server.
func (u *Uploader) UploadReaderAt(ctx context.Context, bucket, key string, r io.ReaderAt, size int64, opts ...Option) (*Result, error) {
	s, err := u.session(bucket, key, size, opts)
	if err != nil {
		return nil, err
	}
	s.src = r
	s.holes, _ = r.(extents)
	if st, ok := r.(interface{ Stat() (fs.FileInfo, error) }); ok {
		s.stat = st.Stat
	}
	if s.first = s.identity(); s.opt.fingerprint == "" {
		s.opt.fingerprint = s.first
	}
	return s.run(ctx, io.NewSectionReader(r, 0, size))
}

// UploadStream uploads all of r, which is at most maxSize bytes long. To resume
// it, the same stream is generated again; parts are compared by their digest.
func (u *Uploader) UploadStream(ctx context.Context, bucket, key string, r io.Reader, maxSize int64, opts ...Option) (*Result, error) {
	s, err := u.session(bucket, key, maxSize, opts)
	if err != nil {
		return nil, err
	}
	s.stream = true
	return s.run(ctx, r)
}

// session checks what can be known before anything is sent.
func (u *Uploader) session(bucket, key string, size int64, opts []Option) (*session, error) {
	if err := CheckName(bucket, key); err != nil {
		return nil, err
	}
	opt, err := u.opt.with(opts)
	if err != nil {
		return nil, err
	}
	if opt.contentType == "" {
		opt.contentType = defaultContentType
	}
	ps, err := opt.partSizeFor(size)
	if err != nil {
		return nil, err
	}
	s := &session{
		c: u.c, opt: opt, bucket: bucket, key: key, size: size, partSize: ps,
		name: stateName(u.c.Endpoint(), bucket, key),
		sums: map[int32][16]byte{}, m: &meter{}, started: time.Now(),
	}
	if opt.rate > 0 {
		// A tenth of a second's worth at once keeps the flow even, and a
		// body's reads small enough for the stall clock.
		s.m.limiter = rate.NewLimiter(rate.Limit(opt.rate), int(min(max(opt.rate/10, 1024), 1<<20)))
	}
	return s, nil
}

// run is one upload from lock to clean-up.
func (s *session) run(ctx context.Context, body io.Reader) (res *Result, err error) {
	ctx = withMeter(ctx, s.m)
	rep := startReporter(s)
	defer rep.finish()
	if s.opt.store != nil {
		unlock, lerr := s.opt.store.Lock(ctx, s.name)
		if lerr != nil {
			return nil, fmt.Errorf("uploader: obs://%s/%s: %w", s.bucket, s.key, lerr)
		}
		defer func() {
			if uerr := unlock(); uerr != nil {
				err = errors.Join(err, cleanupError(uerr))
			}
		}()
	}
	if _, err := s.c.CheckBucket(ctx, s.bucket, s.opt.class); err != nil {
		return nil, err
	}
	finished, err := s.prepare(ctx)
	if err != nil {
		return nil, err
	}
	if !finished {
		err = s.transfer(ctx, body)
	}
	clean := s.cleanup(ctx, err)
	if err != nil {
		return nil, joinCleanup(err, clean)
	}
	return s.result(clean), nil
}

// joinCleanup keeps err's type and text when there is nothing to add.
func joinCleanup(err, clean error) error {
	if clean == nil {
		return err
	}
	return errors.Join(err, clean)
}

// transfer sends the body and verifies what is stored.
func (s *session) transfer(ctx context.Context, body io.Reader) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	s.cancel = cancel
	if s.stream {
		body = &sourceReader{ctx: ctx, r: body, most: s.size}
	} else {
		s.bufs = make(chan []byte, s.opt.concurrency)
	}
	if err := managed(ctx, s, body); err != nil {
		return s.explain(ctx, err)
	}
	return s.verify(ctx)
}

// explain finds the first failure, which cancelled everything else.
func (s *session) explain(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	return target{op: "Upload", bucket: s.bucket, key: s.key}.wrap(err, 1)
}

func (s *session) result(clean error) *Result {
	return &Result{
		Bucket: s.bucket, Key: s.key, ETag: s.etag, UploadID: s.uploadID,
		ObjectBytes: s.stored, WireBytes: s.m.wire.Load(),
		CopiedBytes: s.n.copied.Load(), ResumedBytes: s.n.resumed.Load(),
		Parts: int(s.n.parts.Load()), CopiedParts: int(s.n.copiedParts.Load()),
		ResumedParts: int(s.n.resumedParts.Load()), Retries: int(s.m.retries.Load()),
		PartSize: s.partSize, Encrypted: s.encrypted.Load(), RestartReason: s.restart,
		CleanupErr: clean, Seconds: time.Since(s.started).Seconds(),
	}
}

// identity of a file; "" for other sources.
func (s *session) identity() string {
	if s.stat == nil {
		return ""
	}
	fi, err := s.stat()
	if err != nil {
		return ""
	}
	return FileFingerprint(fi)
}

// FileFingerprint is the identity of a file for WithFingerprint: its size, time
// of change and inode.
func FileFingerprint(fi fs.FileInfo) string {
	return fmt.Sprintf("file:%d:%d:%d", fi.Size(), fi.ModTime().UnixNano(), inode(fi))
}

// sourceReader is a stream on its way in: it marks its errors, holds it to its
// bound and ends it when the upload does.
type sourceReader struct {
	ctx  context.Context // of this upload alone
	r    io.Reader
	n    int64
	most int64
}

func (r *sourceReader) Read(p []byte) (int, error) {
	for range 100 {
		if err := r.ctx.Err(); err != nil {
			return 0, context.Cause(r.ctx)
		}
		n, err := r.r.Read(p)
		r.n += int64(n)
		if r.n > r.most {
			return n, fmt.Errorf("%w: the stream exceeds %d bytes", ErrTooLarge, r.most)
		}
		if err != nil && err != io.EOF {
			return n, &sourceError{r.n, err}
		}
		if n > 0 || err != nil || len(p) == 0 {
			return n, err
		}
	}
	return 0, &sourceError{r.n, io.ErrNoProgress}
}
