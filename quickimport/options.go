package quickimport

import (
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/fastimage/fastimage/bitmap"
	"github.com/fastimage/fastimage/rawimage/anyimage"
	"github.com/fastimage/fastimage/uploader"
	"github.com/fastimage/fastimage/zvhd2"
)

// Format is what the disk image becomes in the bucket.
type Format string

// The two formats that fast image creation takes.
const (
	FormatZVHD2 Format = "zvhd2" // the default: smaller to upload, and its layout is public
	FormatRaw   Format = "raw"   // the disk as it is, with a bitmap file (.mf) beside it
)

// An Option configures a [Client].
type Option func(*options) error

type options struct {
	region, projectID            string
	ims, obs, iam                string
	credentials                  CredentialsProvider
	progress                     func(Event)
	transport                    http.RoundTripper
	logger                       *slog.Logger
	format                       Format
	level                        zvhd2.Level
	apiVersion                   string
	concurrency, workers         int
	partSize                     int64
	overwrite                    bool
	mfFile                       string
	store                        uploader.Store
	verify, resubmit             bool
	wait, awaitActive            bool
	deleteObject                 bool
	source                       []anyimage.Option
	settle                       time.Duration
	mfLayout                     *bitmap.Layout
	pollMin, pollMax, apiTimeout time.Duration
}

// WithRegion sets the region, for instance cn-north-4. The endpoints follow
// from it where they are not set. Required.
func WithRegion(region string) Option {
	return func(o *options) error {
		if strings.Trim(region, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" || region == "" {
			return fmt.Errorf("region %q: want lower-case letters, digits and '-'", region)
		}
		o.region = region
		return nil
	}
}

// WithCredentials sets where credentials come from. Required.
func WithCredentials(p CredentialsProvider) Option {
	return func(o *options) error { o.credentials = p; return nil }
}

// WithProjectID sets the project. Default: that of the credentials, else it is
// looked up by the region's name (GET /v3/projects).
func WithProjectID(id string) Option { return func(o *options) error { o.projectID = id; return nil } }

// WithIMSEndpoint sets the image service's URL. Default https://ims.{region}.myhuaweicloud.com.
func WithIMSEndpoint(u string) Option {
	return func(o *options) error { return setURL(&o.ims, "image service", u) }
}

// WithOBSEndpoint sets the object storage's URL. Default https://obs.{region}.myhuaweicloud.com.
func WithOBSEndpoint(u string) Option {
	return func(o *options) error { return setURL(&o.obs, "object storage", u) }
}

// WithIAMEndpoint sets the identity service's URL. Default https://iam.{region}.myhuaweicloud.com.
func WithIAMEndpoint(u string) Option {
	return func(o *options) error { return setURL(&o.iam, "identity", u) }
}

func setURL(to *string, what, raw string) error {
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") || u.RawQuery != "" || u.User != nil {
		return fmt.Errorf("%s endpoint: want http(s)://HOST[:PORT]", what)
	}
	*to = strings.TrimSuffix(raw, "/")
	return nil
}

// WithProgress sets a function that is called with every [Event], from several
// goroutines but never from two at once. Default none. It must not block.
func WithProgress(f func(Event)) Option { return func(o *options) error { o.progress = f; return nil } }

// WithTransport sets the transport of all requests: proxies and CA bundles go
// in here. Default: a clone of http.DefaultTransport.
func WithTransport(t http.RoundTripper) Option {
	return func(o *options) error { o.transport = t; return nil }
}

// WithLogger sets a logger for what is retried or cleaned up. Default: none.
func WithLogger(l *slog.Logger) Option { return func(o *options) error { o.logger = l; return nil } }

// WithFormat sets what is uploaded. Default [FormatZVHD2].
func WithFormat(f Format) Option {
	return func(o *options) error {
		if f != FormatZVHD2 && f != FormatRaw {
			return fmt.Errorf("format %q: want zvhd2 or raw", f)
		}
		o.format = f
		return nil
	}
}

// WithSource says how disk images are opened, for instance in what directory
// the backing file of a QCOW2 may lie. Default: by their content, and without
// any other file than a VMDK's own.
func WithSource(opts ...anyimage.Option) Option {
	return func(o *options) error { o.source = append(o.source, opts...); return nil }
}

// WithMFLayout sets the layout of the bitmap file beside a RAW object, in
// which it is written and in which that of [WithMF] is read. Default:
// [bitmap.DefaultLayout], which is an assumption: the vendor documents none.
func WithMFLayout(l bitmap.Layout) Option {
	return func(o *options) error { o.mfLayout = &l; return l.Validate() }
}

// WithMF makes Import upload this bitmap file, made by the vendor's tool for
// the same RAW image, unchanged instead of writing one. One that calls a block
// empty which holds data would lose that data and is refused. Without
// [WithMFLayout] a file that is not in the default layout cannot be checked:
// it is uploaded, and a warning is logged. Default: none.
func WithMF(filename string) Option {
	return func(o *options) error { o.mfFile = filename; return nil }
}

// WithStateDir makes imports durable: what an import has reached is kept in
// this directory (made with mode 0700 if missing; no secrets), and the same
// import, started again after its process died at any point, goes on where it
// was. A failed upload then keeps its parts. Default: none.
func WithStateDir(dir string) Option {
	return func(o *options) error {
		store, err := uploader.NewFileStore(dir)
		if err != nil {
			return err
		}
		o.store = store
		return nil
	}
}

// WithStore is [WithStateDir] for state that is kept elsewhere.
func WithStore(s uploader.Store) Option { return func(o *options) error { o.store = s; return nil } }

// WithRemoteVerification says whether the structures of an uploaded ZVHD2 are
// read back by range requests and compared with what was written. Default true.
func WithRemoteVerification(on bool) Option {
	return func(o *options) error { o.verify = on; return nil }
}

// WithWait says whether imports wait for the job. Without waiting they return
// once the service has taken the request, with a job id for [Client.WaitJob]
// and without an image id; a durable one can be started again to wait for it.
// Default true.
func WithWait(on bool) Option { return func(o *options) error { o.wait = on; return nil } }

// WithAwaitActive says whether imports wait, after the job, until the image is
// listed as active. Default true.
func WithAwaitActive(on bool) Option {
	return func(o *options) error { o.awaitActive = on; return nil }
}

// WithDeleteObject makes imports remove the objects they have uploaded once the
// image is active. Default: they are kept.
func WithDeleteObject() Option { return func(o *options) error { o.deleteObject = true; return nil } }

// WithSettleTime sets how long an image of the name is looked for when the
// answer to the create call was lost, before that is an error that matches
// [ErrUncertain]. 0 to 1 h, default 1 min.
func WithSettleTime(d time.Duration) Option {
	return func(o *options) error {
		if d < 0 || d > time.Hour {
			return fmt.Errorf("settle time %v: want 0 to 1h", d)
		}
		o.settle = d
		return nil
	}
}

// WithResubmit lets an import whose create call has an unknown outcome send it
// again. Use it once you have seen that there is neither an image of that name
// nor a job that makes one. Default: never.
func WithResubmit() Option { return func(o *options) error { o.resubmit = true; return nil } }

// WithLevel sets the compression level of ZVHD2. Default [zvhd2.LevelDefault].
func WithLevel(l zvhd2.Level) Option { return func(o *options) error { o.level = l; return nil } }

// WithAPIVersion sets the version of the create call, "v2" (the default) or "v2.1".
func WithAPIVersion(v string) Option {
	return func(o *options) error {
		if v != "v2" && v != "v2.1" {
			return fmt.Errorf("API version %q: want v2 or v2.1", v)
		}
		o.apiVersion = v
		return nil
	}
}

// WithConcurrency sets how many parts are sent at once, 1 to 64. Default: the uploader's.
func WithConcurrency(n int) Option {
	return intOption("concurrency", n, 64, func(o *options) { o.concurrency = n })
}

// WithWorkers sets how many blocks are compressed at once, 1 to 256. Default: one per core.
func WithWorkers(n int) Option {
	return intOption("workers", n, 256, func(o *options) { o.workers = n })
}

func intOption(what string, n, most int, set func(*options)) Option {
	return func(o *options) error {
		if n < 1 || n > most {
			return fmt.Errorf("%s %d: want 1 to %d", what, n, most)
		}
		set(o)
		return nil
	}
}

// WithPartSize sets the size of the parts in bytes, 5 MiB to 5 GiB. Default:
// by the largest that the object can become.
func WithPartSize(n int64) Option { return func(o *options) error { o.partSize = n; return nil } }

// WithOverwrite lets Import replace an object that has the target's key.
// Default: that is an error that matches [ErrObjectExists].
func WithOverwrite() Option { return func(o *options) error { o.overwrite = true; return nil } }

// WithPolling sets the first and the longest pause between two looks at a job.
// Default 250 ms and 30 s; the pause grows by half each time.
func WithPolling(first, longest time.Duration) Option {
	return func(o *options) error {
		if first <= 0 || longest < first {
			return fmt.Errorf("polling from %v to %v: want 0 < first <= longest", first, longest)
		}
		o.pollMin, o.pollMax = first, longest
		return nil
	}
}

func newOptions(opts []Option) (*options, error) {
	o := &options{
		format: FormatZVHD2, level: zvhd2.LevelDefault, apiVersion: "v2",
		pollMin: 250 * time.Millisecond, pollMax: 30 * time.Second, apiTimeout: 30 * time.Second, settle: time.Minute, verify: true, wait: true, awaitActive: true,
		logger: slog.New(slog.DiscardHandler),
	}
	for _, opt := range opts {
		if err := opt(o); err != nil {
			return nil, fmt.Errorf("quickimport: %w", err)
		}
	}
	if o.format != FormatRaw && (o.mfFile != "" || o.mfLayout != nil) {
		return nil, fmt.Errorf("quickimport: a bitmap file goes with format raw only: use WithFormat(FormatRaw)")
	}
	if o.deleteObject && (!o.wait || !o.awaitActive) {
		return nil, fmt.Errorf("quickimport: the object can only be removed once the image is active: use WithDeleteObject without WithWait(false) and WithAwaitActive(false)")
	}
	if o.region == "" {
		return nil, fmt.Errorf("quickimport: no region: use WithRegion")
	}
	if o.credentials == nil {
		return nil, fmt.Errorf("quickimport: %w: use WithCredentials", ErrNoCredentials)
	}
	if o.logger == nil {
		o.logger = slog.New(slog.DiscardHandler)
	}
	if o.transport == nil {
		o.transport = http.DefaultTransport.(*http.Transport).Clone()
	}
	for service, to := range map[string]*string{"ims": &o.ims, "obs": &o.obs, "iam": &o.iam} {
		if *to == "" {
			*to = "https://" + service + "." + o.region + ".myhuaweicloud.com"
		}
	}
	return o, nil
}
