package command

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"

	"github.com/spf13/cobra"

	"github.com/fastimage/fastimage/quickimport/cmd/fastimage/internal/profile"
)

// credentialsTopic is the help about settings: 'fastimage help credentials'.
func credentialsTopic() *cobra.Command {
	return &cobra.Command{
		Use:   "credentials",
		Short: "where credentials and settings come from",
		Long: `A setting comes from its flag, else from the environment, else from a profile. A
pair of keys is always taken from one place. Flags on a command line can be seen
by other users of the machine: prefer the environment or a profile for secrets.

Environment:

  HUAWEICLOUD_SDK_AK, HUAWEICLOUD_SDK_SK      access key and secret key
  HUAWEICLOUD_SDK_SECURITY_TOKEN              security token of temporary keys
  HUAWEICLOUD_SDK_PROJECT_ID                  --project-id
  HW_ACCESS_KEY, HW_SECRET_KEY,               the same, if there are no keys
  HW_SECURITY_TOKEN, HW_PROJECT_ID            above
  HW_REGION_NAME                              --region
  HW_ENTERPRISE_PROJECT_ID                    --enterprise-project
  FASTIMAGE_BUCKET                            --bucket
  FASTIMAGE_IMS_ENDPOINT                      --ims-endpoint
  FASTIMAGE_OBS_ENDPOINT                      --obs-endpoint, --endpoint
  FASTIMAGE_IAM_ENDPOINT                      --iam-endpoint
  FASTIMAGE_PROFILE                           --profile
  FASTIMAGE_SOURCE_AK, FASTIMAGE_SOURCE_SK,   keys of an obs:// source in another
  FASTIMAGE_SOURCE_SECURITY_TOKEN             account than the target's

Profiles are in the file fastimage/config.yaml of the directory for
configuration (~/.config on Linux, ~/Library/Application Support on macOS,
%AppData% on Windows; XDG_CONFIG_HOME overrides it). The profile "default" is
used unless another one is chosen:

  profiles:
    default:
      access_key: ...
      secret_key: ...
      region: cn-north-4
      bucket: images
    lab:
      access_key: ...
      secret_key: ...
      security_token: ...
      project_id: ...
      enterprise_project: ...
      region: test-region-1
      bucket: images
      ims_endpoint: https://ims.lab.example
      obs_endpoint: https://obs.lab.example
      iam_endpoint: https://iam.lab.example

Keys that other tools have saved are read on request: --profile obsutil reads
~/.obsutilconfig, --profile hcloud the current profile of ~/.hcloud/config.json,
--profile hcloud:NAME another one. Keys that such a file holds encrypted cannot
be read.

A file with secrets that other users of the machine can read is refused: its
mode must be 0600.`,
	}
}

// loadProfile puts the settings of the profile below the environment.
func (a *app) loadProfile() error {
	name, asked := a.profile, true
	if name == "" {
		name = a.getenv("FASTIMAGE_PROFILE")
	}
	if name == "" {
		name, asked = "default", false
	}
	config, home, err := a.directories()
	if err != nil {
		if asked {
			return err
		}
		return nil
	}
	p, err := profile.Load(name, config, home)
	if !asked && errors.Is(err, profile.ErrNotFound) {
		return nil
	}
	if err != nil {
		return profileError(name, err)
	}
	env := a.getenv
	a.getenv = func(variable string) string {
		// A pair of keys is never put together from two places.
		if profile.IsKey(variable) && hasKeys(env) {
			return env(variable)
		}
		if v := env(variable); v != "" {
			return v
		}
		return p[variable]
	}
	return nil
}

// hasKeys reports whether an environment has a pair of keys.
func hasKeys(getenv func(string) string) bool {
	return getenv("HUAWEICLOUD_SDK_AK") != "" && getenv("HUAWEICLOUD_SDK_SK") != "" ||
		getenv("HW_ACCESS_KEY") != "" && getenv("HW_SECRET_KEY") != ""
}

// directories returns those of configuration files, and the home directory.
func (a *app) directories() (config, home string, err error) {
	if home = a.getenv("HOME"); home == "" {
		if home, err = os.UserHomeDir(); err != nil {
			return "", "", fmt.Errorf("no home directory: %w", err)
		}
	}
	if config = a.getenv("XDG_CONFIG_HOME"); filepath.IsAbs(config) {
		return config, home, nil
	}
	if runtime.GOOS == "linux" {
		return filepath.Join(home, ".config"), home, nil
	}
	config, err = os.UserConfigDir()
	return config, home, err
}

// profileError says what is wrong with a profile, and how to fix it.
func profileError(name string, err error) error {
	const see = "'fastimage help credentials' describes the file"
	if e, ok := errors.AsType[*profile.Error](err); ok {
		switch {
		case errors.Is(e.Err, profile.ErrPermissions):
			return &usageError{advisef("run chmod 600 "+shellQuote(e.File), "%s: %w", e.File, e.Err)}
		case errors.Is(e.Err, profile.ErrEncrypted):
			return &usageError{advisef("put the keys into the environment or into a profile of fastimage", "%s: %w", e.File, e.Err)}
		case errors.Is(e.Err, profile.ErrNotFound), errors.Is(e.Err, fs.ErrNotExist):
			return &usageError{advisef(see, "no profile %q in %s%s", name, e.File, didYouMean(name, e.Names))}
		}
		return &usageError{advisef(see, "%s: %w", e.File, e.Err)}
	}
	return &usageError{advisef(see, "%w", err)}
}
