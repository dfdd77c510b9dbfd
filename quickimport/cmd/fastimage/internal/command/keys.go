package command

import (
	"cmp"
	"context"

	"github.com/spf13/cobra"

	"github.com/fastimage/fastimage/quickimport"
)

// keyFlags are the keys of a cloud, for the image service and for a bucket.
type keyFlags struct {
	getenv                func(string) string // of the process
	ak, sk, securityToken string
}

func (f *keyFlags) add(a *app, cmd *cobra.Command, help string) {
	f.getenv = a.getenv
	fl := cmd.Flags()
	fl.StringVar(&f.ak, "ak", "", help)
	fl.StringVar(&f.sk, "sk", "", "secret key")
	fl.StringVar(&f.securityToken, "security-token", "", "security token of temporary keys")
}

func (f *keyFlags) check() error {
	if (f.ak == "") != (f.sk == "") {
		return usagef("--ak and --sk belong together; give both")
	}
	return nil
}

// keys are those of the flags, or of the environment where the flags give none.
func (f *keyFlags) keys(ctx context.Context) (quickimport.Credentials, error) {
	if f.ak != "" {
		return quickimport.Credentials{AccessKey: f.ak, SecretKey: f.sk, SecurityToken: f.securityToken}, nil
	}
	c, err := quickimport.LookupCredentials(f.getenv).Credentials(ctx)
	c.SecurityToken = cmp.Or(f.securityToken, c.SecurityToken)
	return c, err
}
