package main

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/fastimage/fastimage/bitmap"
	"github.com/fastimage/fastimage/quickimport"
	"github.com/fastimage/fastimage/zvhd2"
)

func level(name string) (zvhd2.Level, error) {
	l, err := zvhd2.ParseLevel(name)
	if err != nil {
		return l, usagef("--level %q: want fastest, default, better, best or auto", name)
	}
	return l, nil
}

// importFlags are the flags of import that are no fields of the image.
type importFlags struct {
	local, json, overwrite     bool
	region, project            string
	ims, obs, iam              string
	ak, sk, securityTok, token string
	format, level              string
	stateDir, mf, mfLayout     string
	resubmit                   bool
	concurrency                int
}

// cloudFlags name the cloud, so they contradict --local.
var cloudFlags = []string{"region", "project-id", "ims-endpoint", "obs-endpoint", "iam-endpoint",
	"ak", "sk", "security-token", "token"}

func (a *app) importCmd() *cobra.Command {
	var f importFlags
	var img quickimport.Image
	cmd := &cobra.Command{
		Use:   "import [flags] RAW",
		Short: "make a private image of a RAW disk image",
		Long: `Import converts RAW to ZVHD2 while it uploads it, without a temporary file, has
the image service import the object, and waits until the image is ready. The
image id goes to standard output, everything else to standard error.

Credentials come from --ak and --sk (--security-token for temporary keys), or
from HUAWEICLOUD_SDK_AK, HUAWEICLOUD_SDK_SK and HUAWEICLOUD_SDK_SECURITY_TOKEN,
or from HW_ACCESS_KEY, HW_SECRET_KEY and HW_SECURITY_TOKEN. A --token
authenticates to the image service only; the bucket needs keys in any case.
Flags on a command line can be seen by other users of the machine: prefer the
environment for secrets.

Further defaults from the environment: HUAWEICLOUD_SDK_PROJECT_ID or
HW_PROJECT_ID, HW_REGION_NAME, HW_ENTERPRISE_PROJECT_ID, FASTIMAGE_BUCKET,
FASTIMAGE_IMS_ENDPOINT, FASTIMAGE_OBS_ENDPOINT, FASTIMAGE_IAM_ENDPOINT.`,
		Example: `  # try it without a cloud
  fastimage import --local --name demo --os-version "Debian GNU/Linux 12 64bit" testdata/disk.raw

  # a system disk
  fastimage import --region cn-north-4 --bucket images --name web-1 --os-version "CentOS 7.0 64bit" web.raw

  # a data disk
  fastimage import --region cn-north-4 --bucket images --name data-1 --type DataImage data.raw`,
		Args: argCount(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.doImport(cmd, args[0], f, img)
		},
	}
	fl := cmd.Flags()
	fl.SortFlags = false
	fl.BoolVar(&f.local, "local", false, "import into a cloud simulated inside this process")
	fl.StringVar(&img.Name, "name", "", "name of the image, 1 to 128 characters (required)")
	fl.StringVar(&img.OSVersion, "os-version", "", "operating system, for instance \"CentOS 7.0 64bit\" (required for system disks)")
	fl.StringVar(&img.OSType, "os-type", "", "Linux or Windows, for data disks (default Linux)")
	fl.StringVar(&img.Type, "type", "", "ECS, BMS or DataImage (default ECS)")
	fl.StringVar(&img.Bucket, "bucket", "", "bucket to upload to (required; with --local default images)")
	fl.StringVar(&img.Key, "key", "", "object key (default: follows from the name)")
	fl.Var(gibFlag{&img.MinDisk}, "min-disk", "least disk of a server made from the image, 1GiB to 1024GiB (default: the disk's size, and what the service asks for)")
	fl.StringVar(&img.Description, "description", "", "description, up to 1024 characters")
	fl.StringArrayVar(&img.Tags, "tag", nil, "tag as key.value; may be repeated")
	fl.StringVar(&img.EnterpriseProjectID, "enterprise-project", os.Getenv("HW_ENTERPRISE_PROJECT_ID"), "enterprise project id (default 0)")
	fl.StringVar(&img.Architecture, "architecture", "", "x86 or arm (default x86)")
	fl.StringVar(&img.HWFirmwareType, "firmware", "", "bios or uefi")
	fl.StringVar(&img.LicenseType, "license", "", "platform or byol, for Windows")
	fl.StringVar(&f.region, "region", "", "region, for instance cn-north-4")
	fl.StringVar(&f.project, "project-id", "", "project id (default: looked up by the region)")
	fl.StringVar(&f.ims, "ims-endpoint", "", "URL of the image service (default https://ims.REGION.myhuaweicloud.com)")
	fl.StringVar(&f.obs, "obs-endpoint", "", "URL of the object storage (default https://obs.REGION.myhuaweicloud.com)")
	fl.StringVar(&f.iam, "iam-endpoint", "", "URL of the identity service (default https://iam.REGION.myhuaweicloud.com)")
	fl.StringVar(&f.ak, "ak", "", "access key")
	fl.StringVar(&f.sk, "sk", "", "secret key")
	fl.StringVar(&f.securityTok, "security-token", "", "security token of temporary keys")
	fl.StringVar(&f.token, "token", "", "IAM token for the image service")
	fl.StringVar(&f.format, "format", "zvhd2", "what to upload: zvhd2, or raw with a bitmap (.mf) beside it")
	fl.StringVar(&f.level, "level", "default", "compression: fastest, default, better, best or auto")
	fl.IntVar(&f.concurrency, "concurrency", 0, "parts sent at once, 1 to 64 (default: the uploader's)")
	fl.StringVar(&f.mf, "mf", "", "with --format raw: upload this bitmap file, made by the vendor's tool, unchanged once it is known to cover the image")
	fl.StringVar(&f.mfLayout, "mf-layout", "", "with --format raw: layout of the bitmap file (default: an assumption, see 'fastimage bitmap --help')")
	fl.StringVar(&f.stateDir, "state-dir", "", "keep what the import has reached in this directory: the same command goes on where it was after an interruption")
	fl.BoolVar(&f.resubmit, "resubmit", false, "with --state-dir: ask for the image again after a call of unknown outcome; look that there is no such image first")
	fl.BoolVar(&f.overwrite, "overwrite", false, "replace an object of the same key")
	fl.BoolVar(&f.json, "json", false, "print one JSON object on standard output")
	return cmd
}

func (a *app) doImport(cmd *cobra.Command, file string, f importFlags, img quickimport.Image) error {
	if err := checkImport(cmd, file, f, &img); err != nil {
		return err
	}
	opts, err := f.common()
	if err != nil {
		return err
	}
	if f.local {
		cloud, err := newLocalCloud()
		if err != nil {
			return err
		}
		defer cloud.Close()
		opts = append(opts, cloud.options()...)
		img.Bucket = cmp.Or(img.Bucket, "images")
	} else {
		opts = append(opts, f.cloud()...)
	}
	if a.verbose {
		opts = append(opts, quickimport.WithLogger(slog.New(slog.NewTextHandler(a.stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))))
	}
	show := a.progress()
	defer show.finish()
	opts = append(opts, quickimport.WithProgress(func(e quickimport.Event) {
		show.show(step{phase: string(e.Phase), done: e.Done, total: e.Total, skipped: e.Skipped, sent: e.Sent, percent: e.Percent})
	}))
	client, err := quickimport.New(opts...)
	if err != nil {
		return err
	}
	res, err := client.Import(cmd.Context(), file, img)
	show.finish()
	if err != nil {
		return err
	}
	return a.report(res, f)
}

// checkImport finds what the command line itself gets wrong and fills in what
// the environment gives.
func checkImport(cmd *cobra.Command, file string, f importFlags, img *quickimport.Image) error {
	if file == "-" {
		return usagef("import cannot read standard input: the size has to be known first; name a file")
	}
	if f.local {
		for _, name := range cloudFlags {
			if cmd.Flags().Changed(name) {
				return usagef("--local and --%s contradict each other; leave one out", name)
			}
		}
	} else {
		img.Bucket = cmp.Or(img.Bucket, os.Getenv("FASTIMAGE_BUCKET"))
		if cmp.Or(f.region, os.Getenv("HW_REGION_NAME")) == "" {
			return usagef("no region; use --region or set HW_REGION_NAME, or try --local")
		}
		if img.Bucket == "" {
			return usagef("no bucket; use --bucket or set FASTIMAGE_BUCKET")
		}
		if f.ak == "" != (f.sk == "") {
			return usagef("--ak and --sk belong together; give both")
		}
	}
	if img.Name == "" {
		return usagef("no name for the image; use --name")
	}
	if img.OSVersion == "" && img.Type != "DataImage" {
		return usagef("no operating system for a system disk; use --os-version, or --type DataImage for a data disk")
	}
	return nil
}

// common are the options that no cloud changes.
func (f importFlags) common() ([]quickimport.Option, error) {
	l, err := level(f.level)
	if err != nil {
		return nil, err
	}
	if !slices.Contains([]string{"zvhd2", "raw"}, f.format) {
		return nil, usagef("--format %q: want zvhd2 or raw", f.format)
	}
	opts := []quickimport.Option{quickimport.WithLevel(l), quickimport.WithFormat(quickimport.Format(f.format))}
	if f.concurrency != 0 {
		if f.concurrency < 1 || f.concurrency > 64 {
			return nil, usagef("--concurrency %d: want 1 to 64", f.concurrency)
		}
		opts = append(opts, quickimport.WithConcurrency(f.concurrency))
	}
	for _, o := range []struct {
		value string
		with  func(string) quickimport.Option
	}{{f.mf, quickimport.WithMF}, {f.stateDir, quickimport.WithStateDir}} {
		if o.value != "" {
			opts = append(opts, o.with(o.value))
		}
	}
	if (f.mf != "" || f.mfLayout != "") && f.format != "raw" {
		return nil, usagef("--mf and --mf-layout go with --format raw")
	}
	if f.mfLayout != "" {
		l, err := bitmap.ParseLayout(f.mfLayout)
		if err != nil {
			return nil, usagef("--mf-layout: %w", err)
		}
		opts = append(opts, quickimport.WithMFLayout(l))
	}
	if f.resubmit {
		opts = append(opts, quickimport.WithResubmit())
	}
	if f.overwrite {
		opts = append(opts, quickimport.WithOverwrite())
	}
	return opts, nil
}

// cloud are the options that name a cloud and the credentials for it.
func (f importFlags) cloud() []quickimport.Option {
	opts := []quickimport.Option{
		quickimport.WithRegion(cmp.Or(f.region, os.Getenv("HW_REGION_NAME"))),
		quickimport.WithCredentials(f.credentials()),
	}
	for _, e := range []struct {
		value string
		with  func(string) quickimport.Option
	}{
		{f.project, quickimport.WithProjectID},
		{cmp.Or(f.ims, os.Getenv("FASTIMAGE_IMS_ENDPOINT")), quickimport.WithIMSEndpoint},
		{cmp.Or(f.obs, os.Getenv("FASTIMAGE_OBS_ENDPOINT")), quickimport.WithOBSEndpoint},
		{cmp.Or(f.iam, os.Getenv("FASTIMAGE_IAM_ENDPOINT")), quickimport.WithIAMEndpoint},
	} {
		if e.value != "" {
			opts = append(opts, e.with(e.value))
		}
	}
	return opts
}

// credentials are those of the flags, or of the environment where the flags
// give no keys.
func (f importFlags) credentials() quickimport.CredentialsProvider {
	env := quickimport.EnvCredentials()
	return quickimport.CredentialsFunc(func(ctx context.Context) (quickimport.Credentials, error) {
		c := quickimport.Credentials{AccessKey: f.ak, SecretKey: f.sk, SecurityToken: f.securityTok, Token: f.token}
		if f.ak != "" {
			return c, nil
		}
		c, err := env.Credentials(ctx)
		if err != nil && f.token == "" {
			return c, err
		}
		c.Token = f.token
		c.SecurityToken = cmp.Or(f.securityTok, c.SecurityToken)
		return c, nil
	})
}

// report prints the result: JSON alone, or the image id on standard output and
// the summary on standard error, so that id=$(fastimage import ...) works.
func (a *app) report(res *quickimport.Result, f importFlags) error {
	if f.json {
		return a.printJSON(res)
	}
	if !a.quiet {
		a.summary(res, f.local)
	}
	_, err := fmt.Fprintln(a.stdout, res.ImageID)
	return err
}

func (a *app) summary(res *quickimport.Result, local bool) {
	w := a.stderr
	fmt.Fprintf(w, "image   %s (job %s)\n", res.ImageName, res.JobID)
	fmt.Fprintf(w, "object  %s/%s (%s)\n", res.Bucket, res.Key, res.Format)
	fmt.Fprintf(w, "sizes   disk %s, data %s, object %s, sent %s\n",
		size(res.SourceBytes), size(res.DataBytes), size(res.ObjectBytes), size(res.WireBytes))
	phases := make([]string, len(res.Phases))
	for i, p := range res.Phases {
		phases[i] = fmt.Sprintf("%s %.2fs", p.Name, p.Seconds)
	}
	fmt.Fprintf(w, "time    %.2fs (%s)\n", res.Seconds, strings.Join(phases, ", "))
	if res.Format == quickimport.FormatRaw {
		fmt.Fprintln(w, "note    the layout of the .mf file is an assumption; zvhd2 needs none")
	}
	if local {
		fmt.Fprintln(w, "note    the simulated cloud is gone with this process; 'fastimage serve' keeps one")
	}
}
