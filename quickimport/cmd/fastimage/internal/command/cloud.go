package command

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"log/slog"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/fastimage/fastimage/quickimport"
)

// cloudFlags name a cloud and the credentials for it.
type cloudFlags struct {
	keyFlags
	region, project string
	ims, obs, iam   string
	token           string
	domain          string
	transferFlags
}

// cloudFlagNames contradict --local.
var cloudFlagNames = []string{"region", "project-id", "ims-endpoint", "obs-endpoint", "iam-endpoint", "domain",
	"ak", "sk", "security-token", "token"}

// precedenceHelp says where settings come from.
const precedenceHelp = `Settings come from flags, else from the environment, else from a profile
(--profile, FASTIMAGE_PROFILE): 'fastimage help credentials' has the details.`

func (f *cloudFlags) add(a *app, cmd *cobra.Command) {
	topic(cmd, topicCloud, func(fl *pflag.FlagSet) {
		fl.StringVar(&f.region, "region", "", "region, for instance cn-north-4 (default HW_REGION_NAME)")
		fl.StringVar(&f.project, "project-id", "", "project id (default: looked up by the region)")
		fl.StringVar(&f.ims, "ims-endpoint", "", "URL of the image service (default FASTIMAGE_IMS_ENDPOINT, else by the region)")
		fl.StringVar(&f.obs, "obs-endpoint", "", "URL of the object storage (default FASTIMAGE_OBS_ENDPOINT, else by the region)")
		fl.StringVar(&f.iam, "iam-endpoint", "", "URL of the identity service (default FASTIMAGE_IAM_ENDPOINT, else by the region)")
		fl.StringVar(&f.domain, "domain", "", "domain of the endpoints, ims.REGION.DOMAIN (default: by the region)")
		f.keyFlags.add(a, fl)
		f.transferFlags.add(fl)
		fl.StringVar(&f.token, "token", "", "IAM token for the image service; the bucket needs keys all the same")
	})
}

// check finds what the flags and the environment lack.
func (f *cloudFlags) check() error {
	if cmp.Or(f.region, f.getenv("HW_REGION_NAME")) == "" {
		return usagef("no region; use --region or set HW_REGION_NAME")
	}
	if err := f.transferFlags.check(f.getenv); err != nil {
		return err
	}
	return f.keyFlags.check()
}

// options are those that point a client at the cloud.
func (f *cloudFlags) options() []quickimport.Option {
	opts := []quickimport.Option{
		quickimport.WithRegion(cmp.Or(f.region, f.getenv("HW_REGION_NAME"))),
		quickimport.WithCredentials(f.credentials()),
	}
	if f.retry != 0 {
		opts = append(opts, quickimport.WithRetryBudget(f.retry))
	}
	if f.stall != 0 {
		opts = append(opts, quickimport.WithStallTimeout(f.stall))
	}
	if f.usesPathStyle(f.getenv) {
		opts = append(opts, quickimport.WithPathStyle(true))
	}
	for _, e := range []struct {
		value string
		with  func(string) quickimport.Option
	}{
		{f.project, quickimport.WithProjectID},
		{f.domain, quickimport.WithDomain},
		{cmp.Or(f.ims, f.getenv("FASTIMAGE_IMS_ENDPOINT")), quickimport.WithIMSEndpoint},
		{cmp.Or(f.obs, f.getenv("FASTIMAGE_OBS_ENDPOINT")), quickimport.WithOBSEndpoint},
		{cmp.Or(f.iam, f.getenv("FASTIMAGE_IAM_ENDPOINT")), quickimport.WithIAMEndpoint},
	} {
		if e.value != "" {
			opts = append(opts, e.with(e.value))
		}
	}
	return opts
}

// credentials are keys and token. With a token there need be no keys.
func (f *cloudFlags) credentials() quickimport.CredentialsProvider {
	return quickimport.CredentialsFunc(func(ctx context.Context) (quickimport.Credentials, error) {
		c, err := f.keys(ctx)
		if f.token != "" {
			c.Token, err = f.token, nil
		}
		return c, err
	})
}

// client makes a client of the cloud that the flags name.
func (f *cloudFlags) client(a *app, opts ...quickimport.Option) (*quickimport.Client, error) {
	if err := f.check(); err != nil {
		return nil, err
	}
	return a.newClient(append(f.options(), opts...)...)
}

// newClient adds what every client of the command has.
func (a *app) newClient(opts ...quickimport.Option) (*quickimport.Client, error) {
	if a.verbose {
		opts = append(opts, quickimport.WithLogger(slog.New(slog.NewTextHandler(a.stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))))
	}
	c, err := quickimport.New(opts...)
	if _, ok := errors.AsType[*fs.PathError](err); ok {
		return nil, advisef("choose another directory{ with --state-dir}", "%w", err)
	}
	if err != nil {
		return nil, usagef("%w", err)
	}
	return c, nil
}
