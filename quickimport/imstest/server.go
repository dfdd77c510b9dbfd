package imstest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/fastimage/fastimage/internal/filelock"
)

// maxRecorded and maxRecordedBytes bound the requests that Requests returns. The
// older half is dropped when a bound is reached.
const (
	maxRecorded      = 20000
	maxRecordedBytes = 64 << 20
)

// maxBody bounds the body of a request to the image service.
const maxBody = 1 << 20

// Names of the services in Request and Fault.
const (
	OBS = "obs" // object store
	IMS = "ims" // image service
	IAM = "iam" // identity service: the project lookup
)

// Request is a request that the server received.
type Request struct {
	Service   string    // OBS, IMS or IAM
	Op        Op        // "" if there is no such operation
	Time      time.Time // by the server's clock
	Method    string
	Host      string
	Path      string
	Query     string // as it was sent
	Header    http.Header
	Length    int64  // Content-Length, -1 when unknown
	Body      []byte // bodies of IMS and IAM requests only
	Status    int    // of the answer; 0 if the connection was closed instead
	RequestID string // in the headers of the answer
}

// Server is a simulated cloud. Its methods are safe for concurrent use.
type Server struct {
	options
	store   *store
	ims     *imsService
	obs     *obs
	tempDir string
	urls    map[string]string
	servers []*http.Server
	client  *http.Client
	lock    *filelock.Lock // of the directory that WithDir gave
	stop    context.CancelFunc
	wg      sync.WaitGroup

	mu       sync.Mutex // guards what follows, and the keys and the token in options
	requests []Request
	recorded int // bytes of headers and bodies in requests
	faults   []*activeFault
	closed   bool
}

// TB is what NewServer needs of a testing.TB.
type TB interface {
	Helper()
	Fatalf(format string, args ...any)
	Cleanup(func())
}

// NewServer starts a server for a test, which closes it.
func NewServer(tb TB, opts ...Option) *Server {
	tb.Helper()
	s, err := New(opts...)
	if err != nil {
		tb.Fatalf("%v", err)
		return nil
	}
	tb.Cleanup(func() { _ = s.Close() })
	return s
}

// New starts a server; the caller closes it.
func New(opts ...Option) (_ *Server, err error) {
	s := &Server{options: defaults(), urls: map[string]string{}}
	for _, o := range opts {
		if err := o(&s.options); err != nil {
			return nil, err
		}
	}
	defer func() {
		if err != nil {
			_ = s.Close()
		}
	}()
	if err := s.openStore(); err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(context.Background())
	s.stop = stop
	if s.ims, err = newIMS(ctx, s); err != nil {
		return nil, err
	}
	s.obs, s.client = &obs{s}, s.newClient()
	if err := s.listen(); err != nil {
		return nil, err
	}
	s.ims.resume()
	return s, nil
}

// openStore opens the store in the directory given by WithDir or a temporary
// one, and creates the buckets that are missing.
func (s *Server) openStore() (err error) {
	dir, durable := s.dir, s.dir != ""
	if durable {
		s.lock, err = lockDir(dir, s.logger)
	} else if dir, err = os.MkdirTemp("", "imstest-"); err != nil {
		err = errs.Errorf("create state directory: %w", err)
	} else {
		s.tempDir = dir
	}
	if err != nil {
		return err
	}
	if s.store, err = openStore(dir, durable, s.region, s.clock); err != nil {
		return err
	}
	s.store.encrypted, s.store.versioned = s.variants[Encrypted], s.variants[Versioned]
	for _, b := range s.buckets {
		if _, ok := s.store.bucket(b); ok {
			continue
		}
		if err := s.store.makeBucket(b, s.region, standardClass); err != nil {
			return errs.Errorf("create bucket %q: %w", b, err)
		}
	}
	return nil
}

func (s *Server) listen() error {
	if s.options.listen != "" {
		return s.serve(s.options.listen, "", OBS, IMS, IAM)
	}
	return errors.Join(s.serve("127.0.0.1:0", OBS, OBS), s.serve("127.0.0.1:0", IMS, IMS), s.serve("127.0.0.1:0", IAM, IAM))
}

func (s *Server) serve(addr, service string, names ...string) error {
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return errs.Errorf("listen: %w", err)
	}
	srv := &http.Server{Handler: s.handler(service), ReadHeaderTimeout: 30 * time.Second, MaxHeaderBytes: 64 << 10}
	s.servers = append(s.servers, srv)
	for _, n := range names {
		s.urls[n] = "http://" + ln.Addr().String()
	}
	s.wg.Go(func() { _ = srv.Serve(ln) })
	return nil
}

// handler serves one service, or all for "".
func (s *Server) handler(service string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		sv := service
		if sv == "" {
			sv = serviceOf(r)
		}
		s.handle(w, r, sv)
	})
}

// serviceOf returns the service that a request on a shared listener is for, by
// host name, else by path. No bucket is called v1 to v3: bucket names have at
// least 3 characters.
func serviceOf(r *http.Request) string {
	host, path := strings.ToLower(r.Host), r.URL.Path
	switch {
	case strings.HasPrefix(host, "iam."), strings.HasPrefix(path, "/v3/"):
		return IAM
	case strings.HasPrefix(host, "ims."), strings.HasPrefix(path, "/v1/"), strings.HasPrefix(path, "/v2/"), strings.HasPrefix(path, "/v2.1/"):
		return IMS
	}
	return OBS
}

func (s *Server) handle(w http.ResponseWriter, r *http.Request, service string) {
	id := newID()
	r = r.WithContext(context.WithValue(r.Context(), idKey{}, id))
	rec := Request{Service: service, Op: operation(service, r), Time: s.clock(), Method: r.Method, Host: r.Host, Path: r.URL.Path,
		Query: r.URL.RawQuery, Header: r.Header.Clone(), Length: r.ContentLength, RequestID: id}
	if service != OBS {
		body, err := io.ReadAll(io.LimitReader(r.Body, maxBody+1))
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		rec.Body = body
		r.Body = io.NopCloser(bytes.NewReader(body))
	}
	w.Header().Set("Date", s.clock().UTC().Format(http.TimeFormat))
	sw := &statusWriter{ResponseWriter: w}
	defer func() { s.record(rec, sw) }()
	f := s.match(&rec)
	if f == nil {
		f = &Fault{}
	}
	s.respond(sw, r, &rec, f)
}

// respond carries a request out and answers it, except where its fault intervenes.
func (s *Server) respond(w http.ResponseWriter, r *http.Request, rec *Request, f *Fault) {
	f.delay(r)
	if f.DropBefore {
		f.closeConnection(w)
		return
	}
	answer, finish := f.writer(w, r, rec)
	defer finish()
	if f.Status == 0 || f.Drop {
		acted := &statusWriter{ResponseWriter: answer, succeeded: func() { s.succeeded(r, rec, f) }}
		if f.Drop {
			acted.ResponseWriter = discard{http.Header{}}
		}
		s.dispatch(rec, f, acted, r)
		acted.WriteHeader(http.StatusOK) // unless there is an answer
	}
	switch {
	case f.Status != 0:
		f.answer(answer, r, rec, s.clock())
	case f.Drop:
		f.closeConnection(w)
	}
}

// succeeded is called before the client can know that its request succeeded.
func (s *Server) succeeded(r *http.Request, rec *Request, f *Fault) {
	s.arm(rec.Op)
	if f.has(QuirkRival) {
		s.obs.rival(r)
	}
}

func (s *Server) dispatch(rec *Request, f *Fault, w http.ResponseWriter, r *http.Request) {
	switch rec.Service {
	case OBS:
		s.obs.serve(w, r, rec.Op, f)
	case IMS:
		s.ims.serve(w, r, rec.Op, f)
	default:
		s.ims.serveIAM(w, r)
	}
}

func (s *Server) record(rec Request, sw *statusWriter) {
	rec.Status = sw.status
	s.logger.Info("request", "service", rec.Service, "method", rec.Method, "path", rec.Path, "status", rec.Status, "id", rec.RequestID)
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.requests) >= maxRecorded || s.recorded > maxRecordedBytes && len(s.requests) > 0 {
		half := (len(s.requests) + 1) / 2
		for _, old := range s.requests[:half] {
			s.recorded -= old.bytes()
		}
		s.requests = slices.Delete(s.requests, 0, half)
	}
	s.recorded += rec.bytes()
	s.requests = append(s.requests, rec)
}

// bytes is about how much memory the request takes.
func (r *Request) bytes() int {
	n := len(r.Path) + len(r.Query) + len(r.Body)
	for k, vs := range r.Header {
		for _, v := range vs {
			n += len(k) + len(v)
		}
	}
	return n
}

type idKey struct{}

func requestID(r *http.Request) string {
	id, _ := r.Context().Value(idKey{}).(string)
	return id
}

// lockDir locks a state directory against other servers. On a file system
// without locks it only logs a warning.
func lockDir(dir string, log *slog.Logger) (*filelock.Lock, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, errs.Errorf("create state directory: %w", err)
	}
	l, err := filelock.Acquire(filepath.Join(dir, "lock"))
	switch {
	case errors.Is(err, filelock.ErrHeld):
		return nil, errs.Errorf("%w: %s: %w", ErrInUse, dir, err)
	case errors.Is(err, errors.ErrUnsupported):
		log.Warn("the file system has no locks: a second server on the directory would not be noticed", "dir", dir)
		return nil, nil
	case err != nil:
		return nil, errs.Errorf("lock state directory: %w", err)
	}
	return l, nil
}

// Close stops the server. State in a directory given by WithDir is kept, and
// unfinished jobs are resumed by the next server that uses it.
func (s *Server) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	s.mu.Unlock()
	var errs []error
	if s.stop != nil {
		s.stop()
	}
	for _, srv := range s.servers {
		errs = append(errs, srv.Close())
	}
	if s.ims != nil {
		s.ims.wg.Wait()
	}
	s.wg.Wait()
	if s.client != nil {
		s.client.CloseIdleConnections()
	}
	errs = append(errs, s.lock.Release())
	if s.tempDir != "" {
		errs = append(errs, os.RemoveAll(s.tempDir))
	}
	return errors.Join(errs...)
}
