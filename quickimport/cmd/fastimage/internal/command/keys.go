package command

import (
	"cmp"
	"context"

	"github.com/spf13/pflag"

	"github.com/fastimage/fastimage/quickimport"
)

// keyFlags are the keys of a cloud, for the image service and for a bucket.
type keyFlags struct {
	app                   *app
	ak, sk, securityToken string
}

func (f *keyFlags) add(a *app, fl *pflag.FlagSet) {
	f.app = a
	fl.StringVar(&f.ak, "ak", "", "access key (default: see 'fastimage help credentials')")
	fl.StringVar(&f.sk, "sk", "", "secret key")
	fl.StringVar(&f.securityToken, "security-token", "", "security token of temporary keys")
}

func (f *keyFlags) getenv(name string) string { return f.app.getenv(name) }

func (f *keyFlags) check() error {
	if (f.ak == "") != (f.sk == "") {
		return usagef("--ak and --sk belong together; give both")
	}
	return nil
}

// keys returns those of the flags, or those of the environment where the flags
// give none.
func (f *keyFlags) keys(ctx context.Context) (quickimport.Credentials, error) {
	if f.ak != "" {
		return quickimport.Credentials{AccessKey: f.ak, SecretKey: f.sk, SecurityToken: f.securityToken}, nil
	}
	c, err := quickimport.LookupCredentials(f.getenv).Credentials(ctx)
	c.SecurityToken = cmp.Or(f.securityToken, c.SecurityToken)
	return c, err
}
