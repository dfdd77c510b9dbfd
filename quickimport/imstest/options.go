package imstest

import (
	"log/slog"
	"time"
)

// Defaults of a server.
const (
	DefaultRegion    = "test-region-1"                            // see WithRegion
	DefaultAccessKey = "TESTACCESSKEY0000000"                     // see WithCredentials
	DefaultSecretKey = "test-secret-key-0123456789abcdefghijklmn" // see WithCredentials
	DefaultToken     = "test-token"                               // see WithToken
	DefaultProjectID = "0123456789abcdef0123456789abcdef"         // the one project there is
	DefaultBucket    = "images"                                   // see WithBucket
	DefaultQuota     = 100000                                     // images; see WithQuota
)

type options struct {
	dir, listen          string
	accessKey, secretKey string
	securityToken, token string
	region, projectID    string
	buckets              []string
	quota                int
	jobDuration          time.Duration
	clock                func() time.Time
	logger               *slog.Logger
	variants             map[Variant]bool
}

func defaults() options {
	return options{
		accessKey: DefaultAccessKey, secretKey: DefaultSecretKey, token: DefaultToken,
		region: DefaultRegion, projectID: DefaultProjectID, buckets: []string{DefaultBucket},
		quota: DefaultQuota, jobDuration: 12 * time.Millisecond,
		clock: time.Now, logger: slog.New(slog.DiscardHandler),
		variants: map[Variant]bool{},
	}
}

// Option changes how a [Server] is built.
type Option func(*options) error

func required(name, v string, set func(*options)) Option {
	return func(o *options) error {
		if v == "" {
			return errs.Errorf("%s is empty", name)
		}
		set(o)
		return nil
	}
}

// WithDir keeps all state in directory dir, which is created if it does not
// exist and locked until Close: New fails with [ErrInUse] if another server uses
// it. Default: a temporary directory that Close removes.
func WithDir(dir string) Option {
	return required("directory", dir, func(o *options) { o.dir = dir })
}

// WithListen serves everything on one address ("127.0.0.1:8080", port 0 picks
// one). Default: a loopback listener of its own for each service, so that a
// client that confuses endpoints fails.
func WithListen(addr string) Option {
	return required("listen address", addr, func(o *options) { o.listen = addr })
}

// WithCredentials sets the one access key pair that is accepted.
// Default: DefaultAccessKey and DefaultSecretKey.
func WithCredentials(accessKey, secretKey string) Option {
	return func(o *options) error {
		if accessKey == "" || secretKey == "" {
			return errs.New("access key or secret key is empty")
		}
		o.accessKey, o.secretKey = accessKey, secretKey
		return nil
	}
}

// WithSecurityToken makes the key pair temporary: every signed request must
// carry this security token. Default: none.
func WithSecurityToken(token string) Option {
	return required("security token", token, func(o *options) { o.securityToken = token })
}

// WithToken sets the value of X-Auth-Token that is accepted. Default: DefaultToken.
func WithToken(token string) Option {
	return required("token", token, func(o *options) { o.token = token })
}

// WithRegion sets the region of the services and of new buckets. Default: DefaultRegion.
func WithRegion(region string) Option {
	return required("region", region, func(o *options) { o.region = region })
}

// WithBucket adds a bucket to those that exist from the start. Default: DefaultBucket alone.
func WithBucket(name string) Option {
	return required("bucket", name, func(o *options) { o.buckets = append(o.buckets, name) })
}

// WithQuota limits the number of private images, at least 0. Default: DefaultQuota.
func WithQuota(images int) Option {
	return func(o *options) error {
		if images < 0 {
			return errs.Errorf("quota %d is negative", images)
		}
		o.quota = images
		return nil
	}
}

// WithJobDuration sets the time that a job takes in addition to reading its
// object, at least 0. Default: 12 milliseconds.
func WithJobDuration(d time.Duration) Option {
	return func(o *options) error {
		if d < 0 {
			return errs.Errorf("job duration %v is negative", d)
		}
		o.jobDuration = d
		return nil
	}
}

// WithClock sets the clock for time stamps, the Date header and the check of
// signature dates. It is called concurrently. Default: time.Now.
func WithClock(now func() time.Time) Option {
	return func(o *options) error {
		if now == nil {
			return errs.New("clock is nil")
		}
		o.clock = now
		return nil
	}
}

// WithLogger logs every request, without headers. Default: silent.
func WithLogger(l *slog.Logger) Option {
	return func(o *options) error {
		if l == nil {
			return errs.New("logger is nil")
		}
		o.logger = l
		return nil
	}
}
