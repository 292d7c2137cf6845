// Looks into rendered Kubernetes objects for what schemas don't say.
//
//	go run . OUT FILE…
//
// Decodes each object of the files strictly: an unknown or doubled key is an error. Custom resources are decoded into the types of the
// Prometheus operator, so that no cluster has to know them. Every pod has to have what matters for security.
// Writes to OUT/objects the objects that Kubernetes itself knows, for a validation with its schemas, and to OUT/configs each tailwater.toml.
package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	apps "k8s.io/api/apps/v1"
	batch "k8s.io/api/batch/v1"
	core "k8s.io/api/core/v1"
	networking "k8s.io/api/networking/v1"
	policy "k8s.io/api/policy/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"
)

func main() {
	if len(os.Args) < 3 {
		fmt.Fprintln(os.Stderr, "usage: go run . OUT FILE…")
		os.Exit(2)
	}
	count, err := run(os.Args[1], os.Args[2:])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Printf("%d objects of %d files decode strictly, and their pods are locked down\n", count, len(os.Args)-2)
}

// run counts the objects, and returns everything that is wrong with them.
func run(out string, files []string) (int, error) {
	for _, folder := range []string{"objects", "configs"} {
		if err := os.MkdirAll(filepath.Join(out, folder), 0o755); err != nil {
			return 0, err
		}
	}
	var faults []error
	count := 0
	for _, file := range files {
		documents, err := read(file)
		if err == nil && len(documents) == 0 {
			err = errors.New("there is no object in it")
		}
		if err != nil {
			faults = append(faults, fmt.Errorf("%s: %w", file, err))
		}
		for i, document := range documents {
			count++
			stem := fmt.Sprintf("%s-%02d", strings.TrimSuffix(filepath.Base(file), ".yaml"), i+1)
			if err := inspect(document, out, stem); err != nil {
				faults = append(faults, fmt.Errorf("%s, object %d: %w", file, i+1, err))
			}
		}
	}
	return count, errors.Join(faults...)
}

// read splits a file into its documents, without the empty ones.
func read(file string) ([][]byte, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var documents [][]byte
	reader := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(text)))
	for {
		document, err := reader.Read()
		if errors.Is(err, io.EOF) {
			return documents, nil
		}
		if err != nil {
			return nil, err
		}
		var content any
		if err := yaml.Unmarshal(document, &content); err != nil {
			return nil, err
		}
		if content != nil {
			documents = append(documents, document)
		}
	}
}

func inspect(document []byte, out, stem string) error {
	var kind meta.TypeMeta
	if err := yaml.Unmarshal(document, &kind); err != nil {
		return err
	}
	var object any
	custom := false
	switch kind.APIVersion + " " + kind.Kind {
	case "apps/v1 Deployment":
		object = &apps.Deployment{}
	case "apps/v1 StatefulSet":
		object = &apps.StatefulSet{}
	case "batch/v1 Job":
		object = &batch.Job{}
	case "v1 Pod":
		object = &core.Pod{}
	case "v1 ConfigMap":
		object = &core.ConfigMap{}
	case "v1 Secret":
		object = &core.Secret{}
	case "v1 Service":
		object = &core.Service{}
	case "v1 ServiceAccount":
		object = &core.ServiceAccount{}
	case "v1 PersistentVolumeClaim":
		object = &core.PersistentVolumeClaim{}
	case "policy/v1 PodDisruptionBudget":
		object = &policy.PodDisruptionBudget{}
	case "networking.k8s.io/v1 NetworkPolicy":
		object = &networking.NetworkPolicy{}
	case "monitoring.coreos.com/v1 PodMonitor":
		object, custom = &monitoring.PodMonitor{}, true
	case "monitoring.coreos.com/v1 PrometheusRule":
		object, custom = &monitoring.PrometheusRule{}, true
	default:
		// A new kind has to be looked at here first: a Role, for one, is nothing that tailwater needs.
		return fmt.Errorf("%s %s is not among the kinds that the deploy files may have", kind.APIVersion, kind.Kind)
	}
	if err := yaml.UnmarshalStrict(document, object); err != nil {
		return fmt.Errorf("%s: %w", kind.Kind, err)
	}
	var faults []error
	switch object := object.(type) {
	case *apps.Deployment:
		faults = locked(object.Spec.Template.Spec, true)
	case *apps.StatefulSet:
		faults = locked(object.Spec.Template.Spec, true)
	case *batch.Job:
		faults = locked(object.Spec.Template.Spec, true)
	case *core.Pod:
		faults = locked(object.Spec, false)
	case *core.ConfigMap:
		if text, has := object.Data["tailwater.toml"]; has {
			faults = append(faults, os.WriteFile(filepath.Join(out, "configs", stem+".toml"), []byte(text), 0o644))
		}
	case *core.ServiceAccount:
		if object.AutomountServiceAccountToken == nil || *object.AutomountServiceAccountToken {
			faults = append(faults, errors.New("automountServiceAccountToken is not false"))
		}
	}
	if !custom {
		faults = append(faults, os.WriteFile(filepath.Join(out, "objects", stem+".yaml"), document, 0o644))
	}
	if err := errors.Join(faults...); err != nil {
		return fmt.Errorf("%s: %w", kind.Kind, err)
	}
	return nil
}

// locked tells what a pod lacks of being locked down. `own` are pods with nothing but tailwater in them; in others its container counts.
func locked(pod core.PodSpec, own bool) []error {
	var faults []error
	require := func(holds bool, what string) {
		if !holds {
			faults = append(faults, errors.New(what))
		}
	}
	isTrue := func(value *bool) bool { return value != nil && *value }
	isFalse := func(value *bool) bool { return value != nil && !*value }
	require(!pod.HostNetwork && !pod.HostPID && !pod.HostIPC, "the pod shares a namespace of the node")
	if own {
		require(isFalse(pod.AutomountServiceAccountToken), "automountServiceAccountToken is not false")
		require(pod.SecurityContext != nil && isTrue(pod.SecurityContext.RunAsNonRoot), "the pod's runAsNonRoot is not true")
	}
	for _, volume := range pod.Volumes {
		require(volume.HostPath == nil, fmt.Sprintf("volume %s is a folder of the node", volume.Name))
		for _, fault := range validation.IsDNS1123Label(volume.Name) { // which the schemas leave to the server
			require(false, fmt.Sprintf("volume %s: %s", volume.Name, fault))
		}
	}
	found := false
	for _, container := range append(append([]core.Container{}, pod.InitContainers...), pod.Containers...) {
		if container.Name != "tailwater" {
			require(!own, fmt.Sprintf("container %s is not tailwater", container.Name))
			continue
		}
		found = true
		context := container.SecurityContext
		if context == nil {
			context = &core.SecurityContext{}
		}
		require(isTrue(context.RunAsNonRoot), "runAsNonRoot is not true")
		require(context.RunAsUser == nil || *context.RunAsUser > 0, "runAsUser is root")
		require(isTrue(context.ReadOnlyRootFilesystem), "readOnlyRootFilesystem is not true")
		require(isFalse(context.AllowPrivilegeEscalation), "allowPrivilegeEscalation is not false")
		require(!isTrue(context.Privileged), "the container is privileged")
		capabilities := context.Capabilities
		require(capabilities != nil && len(capabilities.Drop) == 1 && capabilities.Drop[0] == "ALL" && len(capabilities.Add) == 0,
			"capabilities are not dropped, all of them")
		require(context.SeccompProfile != nil && context.SeccompProfile.Type == core.SeccompProfileTypeRuntimeDefault,
			"seccompProfile is not RuntimeDefault")
		require(!container.Resources.Limits.Memory().IsZero(), "there is no limit on memory")
	}
	require(found, "there is no container tailwater")
	return faults
}
