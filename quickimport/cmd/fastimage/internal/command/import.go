package command

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

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

// imageFlags are the fields of the image to make.
type imageFlags struct {
	quickimport.Image
	imageTags []string
}

func (f *imageFlags) add(a *app, fl *pflag.FlagSet) {
	fl.StringVar(&f.Name, "name", "", "name of the image, 1 to 128 characters (required)")
	fl.StringVar(&f.OSVersion, "os-version", "", "operating system, for instance \"CentOS 7.0 64bit\" (required for system disks)")
	fl.StringVar((*string)(&f.OSType), "os-type", "", "Linux or Windows, for data disks (default Linux)")
	fl.StringVar((*string)(&f.Type), "type", "", "ECS, BMS or DataImage (default ECS)")
	fl.Var(gibFlag{&f.MinDisk}, "min-disk", "least disk of a server made from the image, 1GiB to 1024GiB (default: the disk's size, and what the service asks for)")
	fl.StringVar(&f.Description, "description", "", "description, up to 1024 characters")
	fl.StringArrayVar(&f.Tags, "tag", nil, "tag as key.value; may be repeated")
	fl.StringArrayVar(&f.imageTags, "image-tag", nil, "tag as key=value, in place of --tag; may be repeated")
	fl.StringVar(&f.EnterpriseProjectID, "enterprise-project", a.getenv("HW_ENTERPRISE_PROJECT_ID"), "enterprise project id (default 0)")
	fl.StringVar((*string)(&f.Architecture), "architecture", "", "x86 or arm (default x86)")
	fl.StringVar((*string)(&f.HWFirmwareType), "firmware", "", "bios or uefi")
	fl.StringVar((*string)(&f.LicenseType), "license", "", "platform or byol, for Windows")
}

// image is what the flags ask for.
func (f *imageFlags) image() (quickimport.Image, error) {
	img := f.Image
	for _, t := range f.imageTags {
		key, value, ok := strings.Cut(t, "=")
		if !ok {
			return img, usagef("--image-tag %q: want key=value", t)
		}
		img.ImageTags = append(img.ImageTags, quickimport.Tag{Key: key, Value: value})
	}
	if img.Name == "" {
		return img, usagef("no name for the image; use --name")
	}
	if img.OSVersion == "" && img.Type != quickimport.TypeData {
		return img, usagef("no operating system for a system disk; use --os-version, or --type DataImage for a data disk")
	}
	return img, nil
}

// followFlags say how far an import is followed, and how it is recorded.
type followFlags struct {
	noWait, noResume, resubmit, json bool
	timeout                          time.Duration
	stateDir, version                string
}

func (f *followFlags) add(fl *pflag.FlagSet) {
	fl.BoolVar(&f.noWait, "no-wait", false, "end once the service has taken the request, and print the job's id")
	fl.DurationVar(&f.timeout, "timeout", 0, "give up after this time, for instance 2h; a job that runs goes on in the cloud (default: none)")
	fl.StringVar(&f.stateDir, "state-dir", "", "directory for what is needed to go on after an interruption (default: fastimage in the user's cache directory)")
	fl.BoolVar(&f.noResume, "no-resume", false, "keep nothing to go on from: a failed import removes what it has uploaded")
	fl.BoolVar(&f.resubmit, "resubmit", false, "ask for the image again after a call of unknown outcome; look that there is no such image first")
	fl.StringVar(&f.version, "api-version", "v2", "version of the create call, v2 or v2.1")
	fl.BoolVar(&f.json, "json", false, "print one JSON object on standard output")
}

// options are those of one import.
func (f *followFlags) options() []quickimport.ImportOption {
	opts := []quickimport.ImportOption{quickimport.WithWait(!f.noWait)}
	if f.resubmit {
		opts = append(opts, quickimport.WithResubmit())
	}
	return opts
}

// clientOptions are those of the client that makes it.
func (f *followFlags) clientOptions(a *app, local bool) ([]quickimport.Option, error) {
	opts := []quickimport.Option{quickimport.WithAPIVersion(f.version)}
	dir, err := a.stateDir(f.stateDir, "imports")
	switch {
	case f.timeout < 0:
		return nil, usagef("--timeout %s: want a time such as 2h", f.timeout)
	case f.noResume && f.stateDir != "":
		return nil, usagef("--no-resume and --state-dir contradict each other; leave one out")
	case f.noResume, local && f.stateDir == "":
		return opts, nil
	case err != nil:
		return nil, err
	}
	a.resumable = true
	return append(opts, quickimport.WithStateDir(dir)), nil
}

// stateDir is the directory given, or one in the user's cache.
func (a *app) stateDir(given, folder string) (string, error) {
	if given != "" {
		return given, nil
	}
	cache := a.getenv("XDG_CACHE_HOME")
	if !filepath.IsAbs(cache) {
		var err error
		if cache, err = os.UserCacheDir(); err != nil {
			return "", usagef("no cache directory: %w; use --state-dir", err)
		}
	}
	return filepath.Join(cache, "fastimage", folder), nil
}

// context is ctx with the timeout that was asked for.
func (f *followFlags) context(ctx context.Context) (context.Context, context.CancelFunc) {
	if f.timeout == 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, f.timeout)
}

// late says of an error that the timeout of ctx is the reason, if it is: the
// network, which is blamed else, had no part in it.
func (a *app) late(ctx context.Context, err error) error {
	if !errors.Is(ctx.Err(), context.DeadlineExceeded) || !errors.Is(err, context.DeadlineExceeded) ||
		errors.Is(err, quickimport.ErrUncertain) || hint(err) == "" {
		return err // the last two say what to do already
	}
	next := "start anew"
	if a.resumable {
		next = "go on where it was"
	}
	return hintf("the time of --timeout is over; run the same command again to %s", next)
}

// importFlags are those of import.
type importFlags struct {
	image  imageFlags
	cloud  cloudFlags
	follow followFlags
	source sourceFlags

	local, overwrite, dryRun, deleteObject bool
	format, level, partSize                string
	mf, mfLayout                           string
	concurrency, workers                   int
}

func (a *app) importCmd() *cobra.Command {
	var f importFlags
	cmd := &cobra.Command{
		Use:   "import [flags] IMAGE",
		Short: "make a private image of a disk image",
		Long: `Import converts a disk image to ZVHD2 while it uploads it, without a temporary
file, has the image service import the object, and waits until the image is
ready. IMAGE is RAW (also in gzip, xz or zstd), QCOW2, VMDK, OVA, VHD, VHDX or
VDI, as its content says; a ZVHD2 file is uploaded as it is. The image id goes
to standard output, everything else to standard error.

Everything that can be checked is checked before anything is uploaded: what is
wrong is listed, and the exit status is 3. With --dry-run that is all, and the
plan is printed.

An import that was interrupted goes on where it was when the same command is
run again; one that has ended prints its image again.

` + credentialsHelp + `

With --json it prints one object: image_id, image_name, job_id, bucket, key,
format, source_format, source_bytes, data_bytes, object_bytes, wire_bytes, etag,
retries, seconds, phases (each name, seconds), warnings. With --dry-run: source
(name, format, disk_bytes, file_bytes, data_bytes), format, bucket, key, mf_key,
image_name, min_disk, object_bytes_max, part_bytes, parts_max, send_bytes_max,
disk (see 'fastimage info --help'), quota (used, quota), stage, warnings.`,
		Example: `  # try it without a cloud
  fastimage import --local --name demo --os-version "Debian GNU/Linux 12 64bit" testdata/disk.raw

  # a system disk
  fastimage import --region cn-north-4 --bucket images --name web-1 --os-version "CentOS 7.0 64bit" web.qcow2

  # a data disk: only look whether it would work
  fastimage import --dry-run --region cn-north-4 --bucket images --name data-1 --type DataImage data.raw`,
		Args: argCount(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.doImport(cmd, args[0], &f)
		},
	}
	fl := cmd.Flags()
	fl.SortFlags = false
	fl.BoolVar(&f.local, "local", false, "import into a cloud simulated inside this process")
	fl.BoolVar(&f.dryRun, "dry-run", false, "check everything and print what would be done")
	f.image.add(a, fl)
	fl.StringVar(&f.image.Bucket, "bucket", "", "bucket to upload to (required; with --local default images)")
	fl.StringVar(&f.image.Key, "key", "", "object key (default: follows from the name)")
	f.cloud.add(a, cmd)
	f.source.add(cmd)
	fl.StringVar(&f.format, "format", "zvhd2", "what to upload: zvhd2, or raw with a bitmap (.mf) beside it")
	fl.StringVar(&f.level, "level", "default", "compression: fastest, default, better, best or auto")
	fl.StringVar(&f.mf, "mf", "", "with --format raw: upload this bitmap file, made by the vendor's tool, unchanged once it is known to cover the image")
	fl.StringVar(&f.mfLayout, "mf-layout", "", "with --format raw: layout of the bitmap file (default: an assumption, see 'fastimage bitmap --help')")
	fl.IntVar(&f.concurrency, "concurrency", 0, "parts sent at once, 1 to 64 (default: the uploader's)")
	fl.IntVar(&f.workers, "workers", 0, "blocks compressed at once, 1 to 256 (default: one per core)")
	fl.StringVar(&f.partSize, "part-size", "", "size of a part, 5MiB to 5GiB (default: by the size of the object)")
	fl.BoolVar(&f.overwrite, "overwrite", false, "replace an object of the same key")
	fl.BoolVar(&f.deleteObject, "delete-object", false, "remove the uploaded object once the image is ready")
	f.follow.add(fl)
	return cmd
}

func (a *app) doImport(cmd *cobra.Command, file string, f *importFlags) error {
	img, err := f.check(cmd, file)
	if err != nil {
		return err
	}
	opts, err := f.options()
	if err != nil {
		return err
	}
	of, err := f.follow.clientOptions(a, f.local)
	if err != nil {
		return err
	}
	if f.local {
		cloud, err := newLocalCloud(a.stderr)
		if err != nil {
			return err
		}
		defer cloud.Close()
		of = append(of, cloud.options()...)
		img.Bucket = cmp.Or(img.Bucket, "images")
	} else {
		of = append(of, f.cloud.options()...)
	}
	ctx, cancel := f.follow.context(cmd.Context())
	defer cancel()
	show := a.progress()
	defer show.finish()
	client, err := a.newClient(of...)
	if err != nil {
		return err
	}
	defer client.Close()
	source, opts := quickimport.File(file), append(opts, events(show))
	if f.dryRun {
		plan, err := client.Plan(ctx, source, img, opts...)
		show.finish()
		if err != nil {
			return a.late(ctx, flagError(err))
		}
		return a.printPlan(plan, f.follow.json)
	}
	res, err := client.Import(ctx, source, img, opts...)
	show.finish()
	if err != nil {
		return a.late(ctx, flagError(err))
	}
	return a.report(res, f.follow.json, f.local)
}

// check finds what the command line itself gets wrong and fills in what the
// environment gives.
func (f *importFlags) check(cmd *cobra.Command, file string) (quickimport.Image, error) {
	img, err := f.image.image()
	switch {
	case file == "-":
		return img, usagef("import cannot read standard input: the size has to be known first; name a file")
	case f.local:
		for _, name := range cloudFlagNames {
			if cmd.Flags().Changed(name) {
				return img, usagef("--local and --%s contradict each other; leave one out", name)
			}
		}
		return img, err
	}
	if err := f.cloud.check(); err != nil {
		return img, usagef("%w, or try --local", err)
	}
	img.Bucket = cmp.Or(img.Bucket, f.cloud.getenv("FASTIMAGE_BUCKET"))
	if img.Bucket == "" {
		return img, usagef("no bucket; use --bucket or set FASTIMAGE_BUCKET")
	}
	return img, err
}

// options are those that no cloud changes.
func (f *importFlags) options() ([]quickimport.ImportOption, error) {
	l, err := level(f.level)
	if err != nil {
		return nil, err
	}
	if !slices.Contains([]string{"zvhd2", "raw"}, f.format) {
		return nil, usagef("--format %q: want zvhd2 or raw", f.format)
	}
	opts := f.follow.options()
	source, err := f.source.options()
	if err != nil {
		return nil, err
	}
	opts = append(opts, quickimport.WithFormat(quickimport.Format(f.format)), quickimport.WithSourceOptions(source...))
	if f.level != "default" {
		opts = append(opts, quickimport.WithLevel(l))
	}
	if f.concurrency != 0 {
		opts = append(opts, quickimport.WithConcurrency(f.concurrency))
	}
	if f.workers != 0 {
		opts = append(opts, quickimport.WithWorkers(f.workers))
	}
	if f.partSize != "" {
		n, err := parsePartSize(f.partSize)
		if err != nil {
			return nil, err
		}
		opts = append(opts, quickimport.WithPartSize(n))
	}
	if f.overwrite {
		opts = append(opts, quickimport.WithOverwrite())
	}
	if f.deleteObject {
		opts = append(opts, quickimport.WithDeleteObject())
	}
	return f.mfOptions(opts)
}

func (f *importFlags) mfOptions(opts []quickimport.ImportOption) ([]quickimport.ImportOption, error) {
	if (f.mf != "" || f.mfLayout != "") && f.format != "raw" {
		return nil, usagef("--mf and --mf-layout go with --format raw")
	}
	if f.mf != "" {
		opts = append(opts, quickimport.WithBitmapFile(f.mf))
	}
	if f.mfLayout != "" {
		l, err := parseLayout("--mf-layout", f.mfLayout)
		if err != nil {
			return nil, err
		}
		opts = append(opts, quickimport.WithBitmapLayout(l))
	}
	return opts, nil
}

// report prints the result: JSON alone, or the image id (the job id when the
// image was not waited for) on standard output and the summary on standard
// error, so that id=$(fastimage import ...) works.
func (a *app) report(res *quickimport.Result, asJSON, local bool) error {
	if asJSON {
		return a.printJSON(res)
	}
	if !a.quiet {
		a.summary(res, local)
	}
	_, err := fmt.Fprintln(a.stdout, cmp.Or(res.ImageID, res.JobID))
	return err
}

func (a *app) summary(res *quickimport.Result, local bool) {
	w := a.stderr
	for _, s := range res.Warnings {
		fmt.Fprintf(w, "warning %s\n", advice(s))
	}
	fmt.Fprintf(w, "image   %s (job %s)\n", res.ImageName, cmp.Or(res.JobID, "unknown: the answer was lost"))
	fmt.Fprintf(w, "object  %s/%s (%s from %s)\n", res.Bucket, res.Key, res.Format, res.SourceFormat)
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
	if res.ImageID == "" {
		fmt.Fprintf(w, "note    the job runs; 'fastimage job --wait %s' follows it\n", res.JobID)
	}
	if local {
		fmt.Fprintln(w, "note    the simulated cloud is gone with this process; 'fastimage serve' keeps one")
	}
}

// printPlan prints what an import would do.
func (a *app) printPlan(p *quickimport.Plan, asJSON bool) error {
	if asJSON {
		return a.printJSON(p)
	}
	s := p.Source
	lines := []string{
		fmt.Sprintf("source   %s (%s), file %s, disk %s, of it outside of holes %s", s.Name, s.Format, size(s.FileBytes), size(s.DiskBytes), size(s.DataBytes)),
		fmt.Sprintf("object   %s/%s (%s), at most %s", p.Bucket, p.Key, p.Format, size(p.ObjectBytesMax)),
		fmt.Sprintf("upload   at most %d parts of %s, at most %s sent", p.PartsMax, size(p.PartBytes), size(p.SendBytesMax)),
		fmt.Sprintf("image    %s, min disk %dGiB", p.ImageName, p.MinDisk),
	}
	if p.MFKey != "" {
		lines = append(lines, fmt.Sprintf("bitmap   %s/%s, whose layout is an assumption unless given", p.Bucket, p.MFKey))
	}
	if p.Quota != nil && p.Quota.Limit >= 0 {
		lines = append(lines, fmt.Sprintf("quota    %d of %d images", p.Quota.Used, p.Quota.Limit))
	}
	if p.Stage != "planned" {
		lines = append(lines, "stage    an earlier run has reached: "+p.Stage)
	}
	for _, w := range p.Warnings {
		lines = append(lines, "warning  "+advice(w))
	}
	lines = append(lines, "checked  nothing speaks against it; nothing was uploaded")
	_, err := fmt.Fprint(a.stdout, oneLineEach(lines))
	return err
}
