package command

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/fastimage/fastimage/quickimport"
	"github.com/fastimage/fastimage/zvhd2"
)

// levelFlag adds a flag for the compression level.
func levelFlag(fl *pflag.FlagSet, l *zvhd2.Level, def zvhd2.Level, usage string) {
	*l = def
	fl.Var((*levelValue)(l), "level", usage+": fastest, default, better, best or auto")
}

type levelValue zvhd2.Level

func (l *levelValue) Type() string   { return "string" }
func (l *levelValue) String() string { return zvhd2.Level(*l).String() }

func (l *levelValue) values() []string {
	var all []string
	for i := zvhd2.LevelFastest; i <= zvhd2.LevelAuto; i++ {
		all = append(all, i.String())
	}
	return all
}

func (l *levelValue) Set(s string) error {
	v, err := zvhd2.ParseLevel(s)
	if err != nil {
		return errors.New("want " + alternatives(l.values()) + didYouMean(s, l.values()))
	}
	*l = levelValue(v)
	return nil
}

// imageFlags are the fields of the image to create.
type imageFlags struct {
	quickimport.Image
	imageTags []string
	minDisk   int64 // GiB
	app       *app
}

func (f *imageFlags) add(a *app, cmd *cobra.Command) {
	f.app = a
	topic(cmd, topicImage, func(fl *pflag.FlagSet) {
		fl.StringVar(&f.Name, "name", "", "name of the image, 1 to 128 characters (required)")
		fl.StringVar(&f.OSVersion, "os-version", "", "operating system, for instance \"CentOS 7.0 64bit\" (required for system disks)")
		openFlag(fl, &f.OSType, "os-type", []string{"Linux", "Windows"}, "Linux or Windows, for data disks (default Linux)")
		openFlag(fl, &f.Type, "type", []string{"ECS", "BMS", "DataImage"}, "ECS, BMS or DataImage (default ECS)")
		fl.Var(sizeFlag{n: &f.minDisk, unit: 1 << 30}, "min-disk", "smallest disk of a server created from the image, 1GiB to 1024GiB (default: by the size of the disk)")
		fl.StringVar(&f.Description, "description", "", "description, up to 1024 characters")
		fl.StringArrayVar(&f.Tags, "tag", nil, "tag as key.value; may be repeated")
		fl.StringArrayVar(&f.imageTags, "image-tag", nil, "tag as key=value, instead of --tag; may be repeated")
		fl.StringVar(&f.EnterpriseProjectID, "enterprise-project", "", "enterprise project id (default HW_ENTERPRISE_PROJECT_ID, else 0)")
		openFlag(fl, &f.Architecture, "architecture", []string{"x86", "arm"}, "x86 or arm (default x86)")
		openFlag(fl, &f.HWFirmwareType, "firmware", []string{"bios", "uefi"}, "bios or uefi")
		openFlag(fl, &f.LicenseType, "license", []string{"platform", "byol"}, "platform or byol, for Windows")
	})
}

// image is what the flags ask for.
func (f *imageFlags) image() (quickimport.Image, error) {
	img := f.Image
	img.MinDisk = int(min(f.minDisk, math.MaxInt32))
	img.EnterpriseProjectID = cmp.Or(img.EnterpriseProjectID, f.app.getenv("HW_ENTERPRISE_PROJECT_ID"))
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

func (f *followFlags) add(cmd *cobra.Command) {
	topic(cmd, topicImport, func(fl *pflag.FlagSet) {
		fl.BoolVar(&f.noWait, "no-wait", false, "return as soon as the request is accepted, and print the job's id")
		fl.DurationVar(&f.timeout, "timeout", 0, "give up after this time, for instance 2h; a running job continues in the cloud (default: none)")
		fl.StringVar(&f.stateDir, "state-dir", "", "directory for the state needed to resume (default: fastimage in the user's cache directory)")
		fl.BoolVar(&f.noResume, "no-resume", false, "save no state: a failed import removes what it has uploaded")
		fl.BoolVar(&f.resubmit, "resubmit", false, "send the create request again although its outcome is unknown; first make sure that there is no such image")
		choiceFlag(fl, &f.version, "api-version", "v2", []string{"v2", "v2.1"}, "version of the create request, v2 or v2.1")
	})
	topic(cmd, topicOutput, func(fl *pflag.FlagSet) { jsonFlag(fl, &f.json) })
}

// options are those of one import.
func (f *followFlags) options() []quickimport.ImportOption {
	opts := []quickimport.ImportOption{quickimport.WithWait(!f.noWait)}
	if f.resubmit {
		opts = append(opts, quickimport.WithResubmit())
	}
	return opts
}

// clientOptions are those of the client.
func (f *followFlags) clientOptions(a *app, local bool) ([]quickimport.Option, error) {
	opts := []quickimport.Option{quickimport.WithAPIVersion(f.version)}
	dir, err := a.stateDir(f.stateDir, "imports")
	switch {
	case f.timeout < 0:
		return nil, usagef("--timeout %s: want a duration such as 2h", f.timeout)
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

// importFlags are those of import.
type importFlags struct {
	image  imageFlags
	cloud  cloudFlags
	follow followFlags
	source sourceFlags

	local, overwrite, dryRun, deleteObject bool
	format                                 quickimport.Format
	level                                  zvhd2.Level
	partSize, rate                         int64
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
	f.image.add(a, cmd)
	f.source.add(cmd)
	f.addUpload(cmd)
	f.follow.add(cmd)
	topic(cmd, topicImport, func(fl *pflag.FlagSet) {
		fl.BoolVar(&f.dryRun, "dry-run", false, "check everything and print what would be done")
	})
	topic(cmd, topicCloud, func(fl *pflag.FlagSet) {
		fl.BoolVar(&f.local, "local", false, "import into a cloud simulated inside this process")
	})
	f.cloud.add(a, cmd)
	return cmd
}

func (f *importFlags) addUpload(cmd *cobra.Command) {
	topic(cmd, topicUpload, func(fl *pflag.FlagSet) {
		fl.StringVar(&f.image.Bucket, "bucket", "", "bucket to upload to (default FASTIMAGE_BUCKET)")
		fl.StringVar(&f.image.Key, "key", "", "object key (default: by the name)")
		choiceFlag(fl, &f.format, "format", "zvhd2", []string{"zvhd2", "raw"}, "what to upload: zvhd2, or raw with a bitmap (.mf) beside it")
		levelFlag(fl, &f.level, zvhd2.LevelDefault, "compression")
		rateFlag(fl, &f.rate)
		fl.Var(count{&f.concurrency, 1, 64}, "concurrency", "parts sent at once, 1 to 64 (default: as many as help)")
		fl.Var(count{&f.workers, 1, 256}, "workers", "blocks compressed at once, 1 to 256 (default: one per core)")
		partSizeFlag(fl, &f.partSize, "size of a part, 5MiB to 5GiB (default: by the size of the object)")
		fl.BoolVar(&f.overwrite, "overwrite", false, "replace an object with the same key")
		fl.BoolVar(&f.deleteObject, "delete-object", false, "delete the uploaded object once the image is ready")
		fl.StringVar(&f.mf, "mf", "", "with --format raw: upload this bitmap file, made by the vendor's tool, unchanged after checking that it covers the image")
		fl.StringVar(&f.mfLayout, "mf-layout", "", "with --format raw: layout of the bitmap file (default: an assumption, see 'fastimage bitmap --help')")
	})
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
			return a.afterTimeout(ctx, optionError(err))
		}
		return a.printPlan(plan, f.follow.json)
	}
	res, err := client.Import(ctx, source, img, opts...)
	show.finish()
	if err != nil {
		return a.afterTimeout(ctx, optionError(err))
	}
	return a.report(res, f.follow.json, f.local)
}

// check finds what the command line itself gets wrong and fills in what the
// environment gives.
func (f *importFlags) check(cmd *cobra.Command, file string) (quickimport.Image, error) {
	img, err := f.image.image()
	switch {
	case file == "-":
		return img, usagef("standard input is not seekable; give a file name")
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
	opts := f.follow.options()
	source, err := f.source.options()
	if err != nil {
		return nil, err
	}
	opts = append(opts, quickimport.WithFormat(f.format), quickimport.WithSourceOptions(source...))
	if f.level != zvhd2.LevelDefault {
		opts = append(opts, quickimport.WithLevel(f.level))
	}
	if f.concurrency != 0 {
		opts = append(opts, quickimport.WithConcurrency(f.concurrency))
	}
	if f.workers != 0 {
		opts = append(opts, quickimport.WithWorkers(f.workers))
	}
	if f.partSize != 0 {
		opts = append(opts, quickimport.WithPartSize(f.partSize))
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
		fmt.Fprintf(w, "warning %s\n", oneLine(s))
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
		lines = append(lines, "warning  "+w)
	}
	lines = append(lines, "all checks passed; nothing was uploaded (dry run)")
	_, err := fmt.Fprint(a.stdout, oneLineEach(lines))
	return err
}
