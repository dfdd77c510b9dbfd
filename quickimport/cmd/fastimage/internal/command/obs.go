package command

import (
	"cmp"
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/fastimage/fastimage/rawimage/httpfile"
	"github.com/fastimage/fastimage/uploader"
)

const obsScheme = "obs://"

// bucketFlags are those of the commands that work on a bucket alone.
type bucketFlags struct {
	keyFlags
	transferFlags
	endpoint, region string
	elsewhere        bool // not at the endpoint of the environment
}

// Keys of a source in a bucket of another account.
const (
	sourceKeyEnv    = "FASTIMAGE_SOURCE_AK"
	sourceSecretEnv = "FASTIMAGE_SOURCE_SK"
	sourceTokenEnv  = "FASTIMAGE_SOURCE_SECURITY_TOKEN"
)

// ofSource returns the flags for the bucket that a source is in: another region,
// service or account than the target's is possible.
func (f *bucketFlags) ofSource(src *sourceFlags) *bucketFlags {
	of := *f
	if src.region != "" || src.endpoint != "" {
		of.region, of.endpoint, of.elsewhere = cmp.Or(src.region, f.region), src.endpoint, true
	}
	if ak := f.getenv(sourceKeyEnv); ak != "" {
		of.ak, of.sk, of.securityToken = ak, f.getenv(sourceSecretEnv), f.getenv(sourceTokenEnv)
	}
	return &of
}

// transferFlags say how to deal with a network and a store that have their ways.
type transferFlags struct {
	stall, retry time.Duration
	pathStyle    bool
}

func (f *transferFlags) add(fl *pflag.FlagSet) {
	fl.DurationVar(&f.stall, "stall-timeout", 0, "repeat an attempt in which nothing moved for this long, 10ms to 1h (default 1m)")
	fl.DurationVar(&f.retry, "retry-time", 0, "how long to repeat what fails, up to 24h (default 10m)")
	fl.BoolVar(&f.pathStyle, "path-style", false, "name the bucket in the path of the URL instead of in the host (default FASTIMAGE_PATH_STYLE, else by the endpoint)")
}

// pathStyleEnv is the variable that --path-style has as its default.
const pathStyleEnv = "FASTIMAGE_PATH_STYLE"

func (f *transferFlags) check(getenv func(string) string) error {
	if env := getenv(pathStyleEnv); env != "" {
		if _, err := strconv.ParseBool(env); err != nil {
			return usagef("%s %q: want true or false", pathStyleEnv, env)
		}
	}
	return nil
}

func (f *transferFlags) usesPathStyle(getenv func(string) string) bool {
	env, _ := strconv.ParseBool(getenv(pathStyleEnv)) // check has looked at it
	return f.pathStyle || env
}

func (f *transferFlags) options(getenv func(string) string) []uploader.ClientOption {
	var opts []uploader.ClientOption
	if f.stall != 0 {
		opts = append(opts, uploader.WithStallTimeout(f.stall))
	}
	if f.retry != 0 {
		opts = append(opts, uploader.WithRetryTime(f.retry))
	}
	if f.usesPathStyle(getenv) {
		opts = append(opts, uploader.WithPathStyle(true))
	}
	return opts
}

// httpOptions are those of a source at a URL.
func (f *transferFlags) httpOptions() []httpfile.Option {
	var opts []httpfile.Option
	if f.stall != 0 {
		opts = append(opts, httpfile.WithStallTimeout(f.stall))
	}
	if f.retry != 0 {
		opts = append(opts, httpfile.WithRetryTime(f.retry))
	}
	return opts
}

func (f *bucketFlags) add(a *app, cmd *cobra.Command) {
	topic(cmd, topicCloud, func(fl *pflag.FlagSet) {
		fl.StringVar(&f.region, "region", "", "region, for instance cn-north-4 (default HW_REGION_NAME)")
		fl.StringVar(&f.endpoint, "endpoint", "", "URL of the object storage (default FASTIMAGE_OBS_ENDPOINT, else by the region)")
		f.keyFlags.add(a, fl)
		f.transferFlags.add(fl)
	})
}

func (f *bucketFlags) client() (*uploader.Client, error) {
	if err := f.keyFlags.check(); err != nil {
		return nil, err
	}
	if err := f.transferFlags.check(f.getenv); err != nil {
		return nil, err
	}
	opts := []uploader.ClientOption{uploader.WithCredentials(func(ctx context.Context) (uploader.Credentials, error) {
		c, err := f.keys(ctx)
		return uploader.Credentials{AccessKey: c.AccessKey, SecretKey: c.SecretKey, SecurityToken: c.SecurityToken}, err
	})}
	opts = append(opts, f.transferFlags.options(f.getenv)...)
	e := f.endpoint
	if e == "" && !f.elsewhere {
		e = f.getenv("FASTIMAGE_OBS_ENDPOINT")
	}
	if e != "" {
		opts = append(opts, uploader.WithEndpoint(e))
	}
	if r := cmp.Or(f.region, f.getenv("HW_REGION_NAME")); r != "" {
		opts = append(opts, uploader.WithRegion(r))
	}
	c, err := uploader.NewClient(opts...)
	if err != nil && cmp.Or(f.region, f.getenv("HW_REGION_NAME")) == "" {
		return nil, usagef("no region; use --region or set HW_REGION_NAME")
	}
	if err != nil {
		return nil, usagef("%w; use --region or --endpoint", err)
	}
	return c, nil
}

// parseObject splits obs://bucket/key; the key may be empty for a prefix.
func parseObject(s string, needKey bool) (bucket, key string, err error) {
	rest, ok := strings.CutPrefix(s, obsScheme)
	bucket, key, _ = strings.Cut(rest, "/")
	switch {
	case needKey && (!ok || bucket == "" || key == ""):
		return "", "", usagef("%q: want obs://BUCKET/KEY", s)
	case !ok || bucket == "":
		return "", "", usagef("%q: want obs://BUCKET/PREFIX", s)
	}
	return bucket, key, nil
}
