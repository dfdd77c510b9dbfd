package command

import (
	"cmp"
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/fastimage/fastimage/quickimport"
	"github.com/fastimage/fastimage/quickimport/cmd/fastimage/internal/manifest"
	"github.com/fastimage/fastimage/rawimage/anyimage"
	"github.com/fastimage/fastimage/zvhd2"
)

// importFlags are those of import.
type importFlags struct {
	image  imageFlags
	cloud  cloudFlags
	follow followFlags
	source sourceFlags

	manifest                               string
	parallel                               int
	allDisks                               bool
	local, overwrite, dryRun, deleteObject bool
	force                                  bool
	guest                                  quickimport.GuestCheck
	format                                 quickimport.Format
	level                                  zvhd2.Level
	partSize, rate                         int64
	mf, mfLayout                           string
	concurrency, workers                   int
}

func (a *app) importCmd() *cobra.Command {
	var f importFlags
	cmd := &cobra.Command{
		Use:   "import [flags] IMAGE...",
		Short: "create private images from disk images",
		Long: `Import converts a disk image to ZVHD2 while uploading it, without a temporary file,
has the image service import the object, and waits until the image is ready. IMAGE
is a file, a URL (http, https, nbd, obs) or - for standard input: RAW (also in
gzip, xz or zstd), QCOW2, VMDK, OVA, VHD, VHDX or VDI, as its content says; a
ZVHD2 file is uploaded as it is. The image id goes to standard output, everything
else to standard error.

Everything that can be checked is checked before anything is uploaded: all problems
are listed, and the exit status is 3. With --dry-run nothing else happens, and the
plan is printed.

An interrupted import is resumed by running the same command again; a finished one
prints its image again.

Several images are imported --parallel at a time, each under the name of its file
without the extension, or as a manifest says (see below). One failure does not stop
the others. The ids go to standard output as the images finish, with their names;
a table follows at the end. The exit status is the highest of all images.
--all-disks imports all disks of an OVA: the first as NAME, the others as data
disks NAME-disk2 and so on.

A manifest is a YAML file; every problem in it is reported, with its line, before
anything is sent. Paths are relative to the manifest:

  defaults:
    bucket: images
    os_version: Debian GNU/Linux 12 64bit
  images:
    - source: web.qcow2
      name: web-1
      min_disk: 40GiB
      tags: [team.web]
    - source: data.raw
      name: data-1
      type: DataImage

Keys: ` + strings.Join(manifest.Keys(), ", ") + `.

With --json it prints one object: import_id, image_id, image_name, job_id, bucket,
key, format, os_version, architecture, firmware, min_disk, guest (see 'fastimage
check --help'), source_format, source_bytes, data_bytes, object_bytes, wire_bytes,
etag, retries, seconds, phases (each name, seconds), warnings (each code, text).
For several images it prints one object a line as each image ends: source, name,
status (imported, already imported or failed), result (the object above, or null)
and error (or null). With --dry-run: source (name, format, disk_bytes, file_bytes,
data_bytes), format, bucket, key, mf_key, image_name, min_disk, os_version,
architecture, firmware, object_bytes_max, part_bytes, parts_max, send_bytes_max,
disk (see 'fastimage info --help'), guest, quota (used, quota), stage, warnings.`,
		Example: `  # try it without a cloud
  fastimage import --local --name demo --os-version "Debian GNU/Linux 12 64bit" testdata/disk.raw

  # a system disk
  fastimage import --region cn-north-4 --bucket images --name web-1 --os-version "CentOS 7.0 64bit" web.qcow2

  # a data disk: only look whether it would work
  fastimage import --dry-run --region cn-north-4 --bucket images --name data-1 --type DataImage data.raw

  # several at once
  fastimage import --region cn-north-4 --bucket images --os-version "Debian GNU/Linux 12 64bit" a.qcow2 b.vmdk`,
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.doImport(cmd, args, &f)
		},
	}
	f.addImage(a, cmd)
	f.follow.add(cmd)
	topic(cmd, topicImport, func(fl *pflag.FlagSet) {
		fl.StringVar(&f.manifest, "manifest", "", "import the images that this YAML file lists")
		fl.Var(count{&f.parallel, 1, 64}, "parallel", "images imported at once, 1 to 64 (default 4)")
		fl.BoolVar(&f.allDisks, "all-disks", false, "import all disks of an OVA")
		fl.BoolVar(&f.dryRun, "dry-run", false, "check everything and print what would be done")
	})
	topic(cmd, topicCloud, func(fl *pflag.FlagSet) {
		fl.BoolVar(&f.local, "local", false, "import into a cloud simulated inside this process")
	})
	f.cloud.add(a, cmd)
	_ = cmd.RegisterFlagCompletionFunc("os-version", a.completeOSVersion(&f.cloud)) // fails only for a flag that is not there
	return cmd
}

// addImage adds the flags of one image, which a manifest can set for each.
func (f *importFlags) addImage(a *app, cmd *cobra.Command) {
	f.image.add(a, cmd)
	f.source.add(cmd)
	f.addUpload(cmd)
}

// importFlagsCmd is a command with the flags of one image, which are stored in f.
func (a *app) importFlagsCmd(f *importFlags) *cobra.Command {
	cmd := &cobra.Command{Use: "image"}
	f.addImage(a, cmd)
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
		choiceFlag(fl, &f.guest, "guest-check", "warn", []string{"warn", "strict", "off"}, "what to do if the guest on the disk is not ready for the cloud: warn, strict (refuse it) or off (do not look)")
		fl.BoolVar(&f.force, "force", false, "import a disk that contradicts --firmware or --architecture")
		fl.BoolVar(&f.deleteObject, "delete-object", false, "delete the uploaded object once the image is ready")
		fl.StringVar(&f.mf, "mf", "", "with --format raw: upload this bitmap file, made by the vendor's tool, unchanged after checking that it covers the image")
		fl.StringVar(&f.mfLayout, "mf-layout", "", "with --format raw: layout of the bitmap file (default: an assumption, see 'fastimage bitmap --help')")
	})
}

// doImport imports one image or several.
func (a *app) doImport(cmd *cobra.Command, names []string, f *importFlags) error {
	many := len(names) > 1 || f.manifest != "" || f.allDisks
	if err := f.check(cmd, names, many); err != nil {
		return err
	}
	if many {
		return a.importMany(cmd, names, f)
	}
	img, err := f.image.image()
	if err != nil {
		return err
	}
	s, err := a.session(cmd, f)
	if err != nil {
		return err
	}
	defer s.close()
	opts, err := f.options()
	if err != nil {
		return err
	}
	opts = append(opts, quickimport.WithSourceOptions(anyimage.WithTempFile(a.announceTemp)))
	source, err := a.sourceOf(s.ctx, names[0], &f.source, f.bucketFlags())
	if err != nil {
		return err
	}
	img.Bucket = s.bucket
	w := &watch{open: a.progress, connect: f.connect()}
	defer w.finish()
	opts = append(opts, w.option())
	if f.dryRun {
		plan, err := s.client.Plan(s.ctx, source, img, opts...)
		w.finish()
		if err != nil {
			return a.afterTimeout(s.ctx, optionError(err))
		}
		return a.printPlan(plan, f.follow.json)
	}
	res, err := s.client.Import(s.ctx, source, img, opts...)
	w.finish()
	if err != nil {
		return a.afterTimeout(s.ctx, optionError(err))
	}
	return a.report(res, f.follow.json, f.local, !w.seen.Load())
}

// session is what all imports of a run share.
type session struct {
	ctx    context.Context
	client *quickimport.Client
	bucket string
	close  func()
}

// session makes the client of the cloud that the flags name, or of a simulated one.
func (a *app) session(cmd *cobra.Command, f *importFlags) (*session, error) {
	of, err := f.follow.clientOptions(a, f.local)
	if err != nil {
		return nil, err
	}
	if f.rate > 0 {
		of = append(of, quickimport.WithLimits(quickimport.Limits{BytesPerSecond: f.rate}))
	}
	s := &session{bucket: cmp.Or(f.image.Bucket, a.getenv("FASTIMAGE_BUCKET"))}
	var local *localCloud
	if f.local {
		if local, err = newLocalCloud(a.stderr); err != nil {
			return nil, err
		}
		of = append(of, local.options()...)
		s.bucket = cmp.Or(f.image.Bucket, "images")
	} else {
		of = append(of, f.cloud.options()...)
	}
	stop := func() {}
	s.close = func() {
		stop()
		if s.client != nil {
			_ = s.client.Close() // nothing to lose
		}
		if local != nil {
			local.Close()
		}
	}
	if s.client, err = a.newClient(of...); err != nil {
		s.close()
		return nil, err
	}
	s.ctx, stop = f.follow.context(cmd.Context())
	return s, nil
}

// connect says what an import connects to.
func (f *importFlags) connect() string {
	if f.local {
		return ""
	}
	region := cmp.Or(f.cloud.region, f.cloud.getenv("HW_REGION_NAME"))
	return fmt.Sprintf("connecting to %s and %s, region %s", cmp.Or(f.cloud.ims, f.cloud.getenv("FASTIMAGE_IMS_ENDPOINT"), "the image service"),
		cmp.Or(f.cloud.obs, f.cloud.getenv("FASTIMAGE_OBS_ENDPOINT"), "the object storage"), region)
}

// bucketFlags are those of an image that is in a bucket: of the same cloud.
func (f *importFlags) bucketFlags() *bucketFlags {
	return &bucketFlags{keyFlags: f.cloud.keyFlags, transferFlags: f.cloud.transferFlags, endpoint: f.cloud.obs, region: f.cloud.region}
}

// check finds what the command line itself gets wrong.
func (f *importFlags) check(cmd *cobra.Command, names []string, many bool) error {
	given := func(name string) bool { return cmd.Flags().Changed(name) }
	switch {
	case f.manifest != "" && len(names) > 0:
		return usagef("--manifest and images on the command line contradict each other; give one of them")
	case f.manifest == "" && len(names) == 0:
		return usagef("no image given; usage: %s", cmd.UseLine())
	case f.allDisks && len(names) > 1:
		return usagef("--all-disks takes one OVA; use --manifest for several")
	}
	for _, name := range []string{"name", "key", "mf", "member", "size"} {
		if many && given(name) && !(f.allDisks && name == "name") {
			return usagef("--%s is for one image; use --manifest for several", name)
		}
	}
	if f.local {
		for _, name := range cloudFlagNames {
			if given(name) {
				return usagef("--local and --%s contradict each other; leave one out", name)
			}
		}
		return nil
	}
	if err := f.cloud.check(); err != nil {
		return usagef("%w, or try --local", err)
	}
	if f.manifest == "" && cmp.Or(f.image.Bucket, f.cloud.getenv("FASTIMAGE_BUCKET")) == "" {
		return usagef("no bucket; use --bucket or set FASTIMAGE_BUCKET")
	}
	return nil
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
	if f.guest != quickimport.GuestWarn {
		opts = append(opts, quickimport.WithGuestCheck(f.guest))
	}
	if f.force {
		opts = append(opts, quickimport.WithForce())
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
