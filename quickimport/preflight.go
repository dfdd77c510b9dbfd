package quickimport

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path"
	"strconv"

	"golang.org/x/sync/errgroup"

	"github.com/fastimage/fastimage/internal/pkgerr"
	"github.com/fastimage/fastimage/rawimage"
	"github.com/fastimage/fastimage/uploader"
	"github.com/fastimage/fastimage/zvhd2"
)

// preflight refuses what is known to fail, before anything is sent.
func (im *importer) preflight(ctx context.Context) error {
	var v validation
	im.img.validate(&v)
	unchecked := errors.Join(im.checkSource(ctx, &v), im.checkCloud(ctx, &v))
	if ctx.Err() != nil {
		return wrap("preflight", ctx.Err())
	}
	if unchecked != nil && len(v.problems) > 0 {
		v.problems = append(v.problems, Problem{Field: "preflight", Reason: ReasonUnchecked, Rule: "not everything could be checked: " + pkgerr.Text(unchecked), Err: unchecked})
	}
	if err := v.err(); err != nil {
		return err
	}
	if unchecked != nil {
		return unchecked
	}
	for _, w := range im.plan.Warnings {
		im.warned(ctx, w)
	}
	return nil
}

// checkSource checks the disk. What it returns is an error of reading; what
// is wrong with the disk goes to v.
func (im *importer) checkSource(ctx context.Context, v *validation) error {
	size, name := im.src.Size(), im.src.Name()
	v.check(size <= MaxImageSize, "file", name, "IMG.0059", ReasonTooLarge, fmt.Sprintf("has a disk of %d bytes; fast image creation takes at most 1 TB (%d)", size, int64(MaxImageSize)))
	gb := (size + 1<<30 - 1) >> 30
	v.check(int64(im.img.MinDisk) >= gb || im.img.MinDisk < 1 || size > MaxImageSize, "min_disk", strconv.Itoa(im.img.MinDisk), "IMG.0055", ReasonTooSmall, fmt.Sprintf("must be at least the disk's size, %d GB", gb))
	im.plan = im.newPlan()
	im.checkDisk(v)
	if im.object {
		return im.checkObject(ctx, v)
	}
	if im.format == FormatRaw {
		if im.src.image == nil {
			v.check(false, "file", name, "", ReasonInOrder, "can only be read in order, so it cannot become a RAW object")
			return nil
		}
		if err := im.checkMF(ctx, v); err != nil {
			return err
		}
	}
	return im.planUpload()
}

// probeName is the object by which the bucket is tried, in the folder of the
// target. It is always the same, so that one that a killed process left behind
// is removed by the next.
const probeName = ".fastimage-preflight"

func probeKey(key string) string {
	if probe := path.Join(path.Dir(key), probeName); len(probe) <= maxKey {
		return probe
	}
	return probeName
}

// checkCloud asks the cloud, all questions at once. What it returns is an
// error that kept it from asking; what would fail goes to v.
func (im *importer) checkCloud(ctx context.Context, v *validation) error {
	if _, err := im.creds.Credentials(ctx); err != nil {
		v.problem("credentials", "", err)
		return nil
	}
	broken := map[string]bool{}
	for _, p := range v.problems {
		broken[p.Field] = true
	}
	checks := []cloudCheck{
		{"os_version", im.img.OSVersion, im.checkOSVersion},
		{"project", im.o.region, func(ctx context.Context) error { _, err := im.ProjectID(ctx); return err }},
		{"quota", "", im.checkQuota},
	}
	if !broken["name"] {
		checks = append(checks, cloudCheck{"name", im.img.Name, im.nameFree})
	}
	if !broken["bucket"] && !broken["key"] {
		checks = append(checks, cloudCheck{"bucket", im.img.Bucket, im.checkBucket})
	}
	return im.ask(ctx, checks, v)
}

type cloudCheck struct {
	field, value string
	ask          func(context.Context) error
}

func (im *importer) ask(ctx context.Context, checks []cloudCheck, v *validation) error {
	errs := make([]error, len(checks))
	var g errgroup.Group
	for i, c := range checks {
		g.Go(func() error { errs[i] = c.ask(ctx); return nil })
	}
	_ = g.Wait() // the errors are in errs
	var failed []error
	refused := false
	for i, err := range errs {
		switch auth := errors.Is(err, ErrAuthentication); {
		case err == nil, auth && refused:
		case auth:
			refused = true // every call to the service says the same
			v.problem("credentials", "", err)
		case definite(err):
			v.problem(checks[i].field, checks[i].value, err)
		default:
			failed = append(failed, wrap("preflight", err))
		}
	}
	return errors.Join(failed...)
}

// definite reports errors that mean that the import would fail, as opposed to
// those that another attempt may not meet.
func definite(err error) bool {
	for _, is := range []error{ErrNoCredentials, ErrOSVersion, ErrAuthentication, ErrForbidden, ErrNotFound, ErrNameTaken, ErrObjectExists, ErrQuota,
		uploader.ErrNoSuchBucket, uploader.ErrNoSuchKey, uploader.ErrWrongRegion, uploader.ErrStorageClass, uploader.ErrAccessDenied, uploader.ErrCredentials,
		uploader.ErrInvalidName, uploader.ErrBadDigest, rawimage.ErrForeignFormat, rawimage.ErrEmpty,
		zvhd2.ErrDamaged, zvhd2.ErrTruncated, zvhd2.ErrUnsupported} {
		if errors.Is(err, is) {
			return true
		}
	}
	api := (*APIError)(nil)
	return errors.As(err, &api) && !api.Retryable
}

// conditions are the documented codes for what was found otherwise.
var conditions = []struct {
	is   error
	code string
}{
	{ErrNameTaken, "IMG.0009"},
	{ErrQuota, "IMG.0015"},
	{uploader.ErrNoSuchBucket, "IMG.0069"},
	{uploader.ErrNoSuchKey, "IMG.0121"},
	{uploader.ErrWrongRegion, "IMG.0058"},
	{uploader.ErrStorageClass, "IMG.0057"},
	{uploader.ErrAccessDenied, "IMG.0069"},
	{uploader.ErrInvalidName, "IMG.0017"},
	{rawimage.ErrForeignFormat, "IMG.0158"},
	{rawimage.ErrEmpty, "IMG.0057"},
	{zvhd2.ErrUnsupported, "IMG.0057"},
	{zvhd2.ErrDamaged, "IMG.0057"},
	{zvhd2.ErrTruncated, "IMG.0057"},
}

// problem notes an error as a reason why the import would fail.
func (v *validation) problem(field, value string, err error) {
	p := Problem{Field: field, Reason: ReasonError, Value: value, Rule: pkgerr.Text(err), Err: err}
	for _, c := range conditions {
		if errors.Is(err, c.is) {
			p.Code = c.code
			break
		}
	}
	if api, ok := errors.AsType[*APIError](err); ok && api.Code != "" {
		p.Code = api.Code
	}
	if unknown, ok := errors.AsType[*osVersionError](err); ok {
		p.Reason, p.Code, p.Suggestions = ReasonUnknown, "IMG.0056", unknown.closest
	}
	v.problems = append(v.problems, p)
}

// nameFree finds an image that has the name. One that an earlier run of the
// same import has asked for is no hindrance.
func (im *importer) nameFree(ctx context.Context) error {
	if passed(im.journal.rec.Stage, stageSubmitting) {
		return nil
	}
	taken, err := im.ImagesByName(ctx, im.img.Name)
	if err == nil && len(taken) > 0 {
		err = pkg.Errorf("%w by image %s", ErrNameTaken, taken[0].ID)
	}
	return err
}

// checkQuota finds a quota that is used up. Not every account may read it:
// then it is left to the service.
func (im *importer) checkQuota(ctx context.Context) error {
	q, err := im.ImageQuota(ctx)
	if err != nil {
		im.o.logger.LogAttrs(ctx, slog.LevelDebug, "the quota was not checked", slog.String("reason", err.Error()))
		return nil
	}
	im.plan.Quota = q
	if q.Limit >= 0 && q.Used >= q.Limit {
		return fmt.Errorf("%w: %d of %d images", ErrQuota, q.Used, q.Limit)
	}
	return nil
}

// checkBucket finds a bucket that is missing, in another region, of another
// class or that takes no uploads, and an object that would be replaced.
func (im *importer) checkBucket(ctx context.Context) error {
	info, err := im.obs.CheckBucket(ctx, im.img.Bucket, standardClass)
	if err == nil && info.Region == "" {
		info.Region, err = im.obs.BucketLocation(ctx, im.img.Bucket)
		if err == nil && info.Region != "" && info.Region != im.o.region {
			err = fmt.Errorf("%w: %s is in %s, the image service in %s", uploader.ErrWrongRegion, im.img.Bucket, info.Region, im.o.region)
		}
	}
	if err != nil || im.object {
		return err
	}
	if err := im.objectsFree(ctx); err != nil {
		return err
	}
	return im.probeBucket(ctx)
}

func (im *importer) objectsFree(ctx context.Context) error {
	if im.opt.overwrite || im.journal.resumed {
		return nil
	}
	for _, key := range im.keys() {
		_, err := im.obs.HeadObject(ctx, im.img.Bucket, key)
		if err == nil {
			return fmt.Errorf("%w: %s:%s", ErrObjectExists, im.img.Bucket, key)
		}
		if !errors.Is(err, uploader.ErrNoSuchKey) {
			return err
		}
	}
	return nil
}

// probeBucket puts an object into the bucket and removes it: OBS answers HEAD
// where it refuses PUT.
func (im *importer) probeBucket(ctx context.Context) error {
	key := probeKey(im.img.Key)
	_, err := im.obs.PutObject(ctx, im.img.Bucket, key, []byte("fastimage: does this bucket take uploads?\n"))
	if err != nil {
		return err
	}
	clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanUpTimeout)
	defer cancel()
	if err := im.obs.DeleteObject(clean, im.img.Bucket, key); err != nil {
		im.o.logger.LogAttrs(ctx, slog.LevelWarn, "the object that tried the bucket was not removed", slog.String("key", key), slog.String("reason", err.Error()))
	}
	return nil
}
