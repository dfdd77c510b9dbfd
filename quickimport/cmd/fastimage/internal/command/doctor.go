package command

import (
	"cmp"
	"fmt"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/fastimage/fastimage/quickimport"
)

func (a *app) doctorCmd() *cobra.Command {
	var cloud cloudFlags
	var bucket, format string
	var tryImport, asJSON bool
	cmd := &cobra.Command{
		Use:   "doctor [flags]",
		Short: "check what a bucket and the image service can do",
		Long: `Doctor checks, with a few MiB in a scratch prefix of a bucket, what the
documentation leaves open and what depends on the installation: uploads with a
correct and a wrong MD5, checksums and default encryption, copying of parts, range
reads, storage class, region, signature and project. With --import it also imports
a small image and deletes it. It removes everything that it has created.

It prints a line for each check: ok, warning (imports work all the same), failed
(they will not) or unknown, what was found, and what follows from it. The exit
status is 1 if a check failed.

With --json it prints one object: bucket, prefix, checks, a list of name,
finding, detail, consequence.`,
		Example: `  fastimage doctor --region cn-north-4 --bucket images
  fastimage doctor --region cn-north-4 --bucket images --import --format raw`,
		Args: argCount(0, 0),
		RunE: func(cmd *cobra.Command, args []string) error {
			if bucket = cmp.Or(bucket, a.getenv("FASTIMAGE_BUCKET")); bucket == "" {
				return usagef("no bucket; use --bucket or set FASTIMAGE_BUCKET")
			}
			client, err := cloud.client(a)
			if err != nil {
				return err
			}
			var opts []quickimport.DoctorOption
			if tryImport {
				opts = append(opts, quickimport.WithTrialImport(quickimport.WithFormat(quickimport.Format(format))))
			}
			rep, err := client.Doctor(cmd.Context(), bucket, opts...)
			if perr := a.printDoctor(cmd, rep, asJSON); perr != nil {
				return perr
			}
			if err == nil && !rep.OK() {
				err = advisef("fix the cause shown and run doctor again", "imports through this bucket will fail")
			}
			return err
		},
	}
	topic(cmd, topicUpload, func(fl *pflag.FlagSet) {
		fl.StringVar(&bucket, "bucket", "", "bucket to examine (default FASTIMAGE_BUCKET)")
		fl.BoolVar(&tryImport, "import", false, "also import a small image, and delete it")
		choiceFlag(fl, &format, "format", "zvhd2", []string{"zvhd2", "raw"}, "with --import: what to upload, zvhd2 or raw")
	})
	topic(cmd, topicOutput, func(fl *pflag.FlagSet) { jsonFlag(fl, &asJSON) })
	cloud.add(a, cmd)
	return cmd
}

func (a *app) printDoctor(cmd *cobra.Command, rep *quickimport.DoctorReport, asJSON bool) error {
	for i, c := range rep.Checks {
		if c.Err != nil {
			rep.Checks[i].Consequence = advice(cmd, c.Err)
		}
	}
	if asJSON {
		return a.printJSON(rep)
	}
	var lines []string
	for _, c := range rep.Checks {
		line := fmt.Sprintf("%-8s %-18s %s", c.Finding, c.Name, c.Detail)
		if c.Consequence != "" {
			line += ": " + c.Consequence
		}
		lines = append(lines, line)
	}
	_, err := fmt.Fprint(a.stdout, oneLineEach(lines))
	return err
}
