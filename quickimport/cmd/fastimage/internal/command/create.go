package command

import (
	"github.com/spf13/cobra"
)

func (a *app) createCmd() *cobra.Command {
	var image imageFlags
	var cloud cloudFlags
	var follow followFlags
	cmd := &cobra.Command{
		Use:   "create [flags] obs://BUCKET/KEY",
		Short: "create a private image from an object that is already in a bucket",
		Long: `Create has the image service import an object that is in a bucket: ZVHD2, or
RAW with its bitmap (.mf) next to it. Its first bytes and its tables are
checked first; all problems are listed, and the exit status is 3. The image id
goes to standard output, everything else to standard error.

With --json it prints the object that 'fastimage import --json' prints.`,
		Example: `  fastimage create --region cn-north-4 --name web-2 --os-version "CentOS 7.0 64bit" obs://images/web.zvhd2`,
		Args:    argCount(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			img, err := image.image()
			if err != nil {
				return err
			}
			if img.Bucket, img.Key, err = parseObject(args[0], true); err != nil {
				return err
			}
			of, err := follow.clientOptions(a, false)
			if err != nil {
				return err
			}
			ctx, cancel := follow.context(cmd.Context())
			defer cancel()
			w := &watch{open: a.progress}
			defer w.finish()
			client, err := cloud.client(a, of...)
			if err != nil {
				return err
			}
			res, err := client.Create(ctx, img, append(follow.options(), w.option())...)
			w.finish()
			if err != nil {
				return a.afterTimeout(ctx, optionError(err))
			}
			return a.report(res, follow.json, false, !w.seen.Load())
		},
	}
	image.add(a, cmd)
	follow.add(cmd)
	cloud.add(a, cmd)
	_ = cmd.RegisterFlagCompletionFunc("os-version", a.completeOSVersion(&cloud)) // fails only for a flag that is not there
	return cmd
}
