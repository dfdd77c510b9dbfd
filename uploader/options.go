package uploader

import (
	"context"
	"crypto/x509"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/fastimage/fastimage/internal/cloud"
)

// ClientOption configures NewClient.
type ClientOption func(*clientOptions) error

type clientOptions struct {
	endpoint    *url.URL
	region      string
	credentials CredentialsFunc
	transport   http.RoundTripper
	roots       *x509.CertPool
	path        *bool
	unsigned    bool
	stall       time.Duration
	retry       cloud.Policy
	userAgent   string
}

func defaultClientOptions() *clientOptions {
	return &clientOptions{
		stall: cloud.DefaultStall, unsigned: true,
	}
}

// WithEndpoint sets the URL of the service, without bucket: http or https, a
// host, no path. Default: https://obs.REGION.myhuaweicloud.com.
func WithEndpoint(endpoint string) ClientOption {
	return func(o *clientOptions) error {
		if !strings.Contains(endpoint, "://") {
			endpoint = "https://" + endpoint
		}
		u, err := url.Parse(endpoint)
		if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") ||
			strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.User != nil {
			return pkg.Errorf("%w: endpoint must be http(s)://host[:port]", ErrConfig)
		}
		o.endpoint = &url.URL{Scheme: u.Scheme, Host: u.Host}
		return nil
	}
}

// WithRegion sets the region that requests are signed for. Default: read from
// an endpoint of the form obs.REGION.domain; required otherwise.
func WithRegion(region string) ClientOption {
	return func(o *clientOptions) error {
		if region == "" || strings.ContainsAny(region, " /\r\n") {
			return pkg.Errorf("%w: region %q", ErrConfig, region)
		}
		o.region = region
		return nil
	}
}

// WithCredentials sets where keys come from. Required.
func WithCredentials(f CredentialsFunc) ClientOption {
	return func(o *clientOptions) error {
		if f == nil {
			return pkg.Errorf("%w: no credentials function", ErrConfig)
		}
		o.credentials = f
		return nil
	}
}

// WithStaticCredentials is WithCredentials for keys that do not end. The
// security token may be empty.
func WithStaticCredentials(accessKey, secretKey, securityToken string) ClientOption {
	return WithCredentials(func(context.Context) (Credentials, error) {
		return Credentials{AccessKey: accessKey, SecretKey: secretKey, SecurityToken: securityToken}, nil
	})
}

// WithTransport sets what carries the requests; redirects are not followed. It
// excludes WithRootCAs. Default: a transport with the environment's proxy and a
// connection per part in flight.
func WithTransport(t http.RoundTripper) ClientOption {
	return func(o *clientOptions) error {
		o.transport = t
		return nil
	}
}

// WithRootCAs sets the certificate authorities to trust, in the default
// transport. Default: the system's.
func WithRootCAs(pool *x509.CertPool) ClientOption {
	return func(o *clientOptions) error {
		o.roots = pool
		return nil
	}
}

// WithPathStyle names the bucket in the path (true) or in the host (false).
// Default: in the path for IP addresses and for hosts without a dot, as OBS
// refuses it on its domain names.
func WithPathStyle(on bool) ClientOption {
	return func(o *clientOptions) error {
		o.path = &on
		return nil
	}
}

// WithUnsignedPayload leaves the SHA-256 of bodies out of the signature, which
// covers their Content-MD5 in any case. Default: true. False is for a service
// over http that refuses it, or where MD5 is not enough against someone on the
// way who forges bodies on purpose.
func WithUnsignedPayload(on bool) ClientOption {
	return func(o *clientOptions) error {
		o.unsigned = on
		return nil
	}
}

// WithStallTimeout ends an attempt in which nothing moved for that long, or less
// than 100 bytes per second. Range: 10ms to 1h, default: 60s. Completing an
// upload and copying on the server, where the service works in silence, get ten
// times that. Once a body has been sent, its answer gets a second more for every
// 64 KiB of it, at most this timeout for every MiB: a proxy may have taken it at
// once for a slow store.
func WithStallTimeout(d time.Duration) ClientOption {
	return func(o *clientOptions) error {
		if d < 10*time.Millisecond || d > time.Hour {
			return pkg.Errorf("%w: stall timeout %v", ErrConfig, d)
		}
		o.stall = d
		return nil
	}
}

// WithRetryTime sets how long after its first failure an operation (a part, say)
// is repeated. Range: 0 (never repeated) to 24h. Default: 10m, but 30s while
// connections are refused and the service has never answered.
func WithRetryTime(d time.Duration) ClientOption {
	return func(o *clientOptions) error {
		if d < 0 || d > 24*time.Hour {
			return pkg.Errorf("%w: retry time %v", ErrConfig, d)
		}
		o.retry.Budget = max(d, 1) // 0 is the default
		return nil
	}
}

// WithRetries bounds the attempts of an operation beside WithRetryTime, and sets
// the first and the longest pause between them. Range: 0 (no bound) to 100
// attempts, 1ms <= first <= longest <= 10m. Default: no bound, 300ms, 20s.
func WithRetries(attempts int, first, longest time.Duration) ClientOption {
	return func(o *clientOptions) error {
		if attempts < 0 || attempts > 100 || first < time.Millisecond || longest < first || longest > 10*time.Minute {
			return pkg.Errorf("%w: %d attempts, pauses %v to %v", ErrConfig, attempts, first, longest)
		}
		o.retry.Attempts, o.retry.Min, o.retry.Max = attempts, first, longest
		return nil
	}
}

// WithUserAgent sets the User-Agent of all requests. Default: the AWS SDK's.
func WithUserAgent(s string) ClientOption {
	return func(o *clientOptions) error {
		if strings.ContainsAny(s, "\r\n") {
			return pkg.Errorf("%w: line break in the user agent", ErrConfig)
		}
		o.userAgent = s
		return nil
	}
}

// Option configures New, or one upload.
type Option func(*options) error

type options struct {
	concurrency int
	partSize    int64
	progress    func(Progress)
	interval    time.Duration
	rate        int64
	store       Store
	fingerprint string
	check       func() error
	failure     FailureMode
	zeroCopy    bool
	class       string
	contentType string
	limiter     *Limiter
}

// A Limiter holds all uploads that share it (WithLimiter) to common limits.
type Limiter = cloud.Limiter

// Limits are what uploads that share a Limiter use together; 0 is no limit.
type Limits = cloud.Limits

// NewLimiter returns a limiter for WithLimiter.
func NewLimiter(l Limits) (*Limiter, error) {
	x, err := cloud.NewLimiter(l)
	if err != nil {
		return nil, pkg.Errorf("%w: %w", ErrConfig, err)
	}
	return x, nil
}

// WithLimiter holds the upload to limits that it shares with others: parts in
// flight, bytes of parts in memory and bytes per second. What buffers a stream
// is at least one part, however small the limit. Default: none.
func WithLimiter(l *Limiter) Option {
	return func(o *options) error {
		o.limiter = l
		return nil
	}
}

func defaultOptions() options {
	return options{concurrency: 4, interval: 200 * time.Millisecond, zeroCopy: true}
}

func (o options) with(opts []Option) (options, error) {
	for _, opt := range opts {
		if err := opt(&o); err != nil {
			return o, err
		}
	}
	return o, nil
}

// WithConcurrency sets how many parts are in flight. Memory is at most
// (concurrency+1) times the part size for streams and concurrency times the
// part size for an io.ReaderAt. Range: 1 to 64, default: 4.
func WithConcurrency(n int) Option {
	return func(o *options) error {
		if n < 1 || n > 64 {
			return pkg.Errorf("%w: concurrency %d", ErrConfig, n)
		}
		o.concurrency = n
		return nil
	}
}

// WithPartSize sets the part size in bytes. Range: MinPartSize to MaxPartSize;
// 0, the default, takes the smallest with which 10000 parts suffice (see
// PartSizeFor). One that is too small for the object is an error.
func WithPartSize(n int64) Option {
	return func(o *options) error {
		if n != 0 && (n < MinPartSize || n > MaxPartSize) {
			return pkg.Errorf("%w: %d, want %d to %d", ErrPartSize, n, MinPartSize, MaxPartSize)
		}
		o.partSize = n
		return nil
	}
}

// WithProgress sets a function that is called from one goroutine: several times
// a second, at every retry, and at the end. Default: none.
func WithProgress(f func(Progress)) Option {
	return func(o *options) error {
		o.progress = f
		return nil
	}
}

// WithRateLimit bounds the bytes per second of one upload's request bodies.
// Range: 0 (no limit, the default) or at least 1024.
func WithRateLimit(bytesPerSecond int64) Option {
	return func(o *options) error {
		if bytesPerSecond != 0 && bytesPerSecond < 1024 {
			return pkg.Errorf("%w: rate limit %d bytes per second", ErrConfig, bytesPerSecond)
		}
		o.rate = bytesPerSecond
		return nil
	}
}

// WithStore makes uploads resumable: what is under way is kept in the store,
// and the next upload to the same target sends only what is missing.
// Default: none.
func WithStore(s Store) Option {
	return func(o *options) error {
		o.store = s
		return nil
	}
}

// WithFingerprint names the identity of the source for resuming, for instance
// path, size and time of change, and for a generated stream its settings too.
// Default: for a file its size, time of change and inode; for other sources
// none, and parts are told apart by their digests alone.
func WithFingerprint(s string) Option {
	return func(o *options) error {
		o.fingerprint = s
		return nil
	}
}

// WithSourceCheck sets a function that is asked once all is sent and before the
// object is completed: if the source changed meanwhile it returns an error, the
// upload fails with ErrSourceChanged, and no object appears. Default: a file's
// size, time of change and inode are compared, other sources are not checked.
func WithSourceCheck(f func() error) Option {
	return func(o *options) error {
		o.check = f
		return nil
	}
}

// FailureMode says what becomes of the parts when an upload fails or is cancelled.
type FailureMode int

const (
	// FailAuto keeps them if there is a store to resume from, else aborts.
	FailAuto FailureMode = iota
	// FailAbort removes them and the state.
	FailAbort
	// FailKeep leaves them; without a store only Stale finds them again.
	FailKeep
)

// WithFailureMode sets what becomes of the parts of a failed or cancelled
// upload. Default: FailAuto.
func WithFailureMode(m FailureMode) Option {
	return func(o *options) error {
		if m < FailAuto || m > FailKeep {
			return pkg.Errorf("%w: failure mode %d", ErrConfig, m)
		}
		o.failure = m
		return nil
	}
}

// WithZeroCopy says whether parts of zeros are made on the server by copying.
// Default: true.
func WithZeroCopy(on bool) Option {
	return func(o *options) error {
		o.zeroCopy = on
		return nil
	}
}

// WithBucketClass refuses a bucket whose storage class is known and another
// one, e.g. "STANDARD". Default: any.
func WithBucketClass(class string) Option {
	return func(o *options) error {
		o.class = class
		return nil
	}
}

// WithContentType sets the object's Content-Type. Default:
// application/octet-stream.
func WithContentType(s string) Option {
	return func(o *options) error {
		o.contentType = s
		return nil
	}
}
