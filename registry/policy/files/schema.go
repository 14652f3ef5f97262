// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package files

import (
	"cmp"
	"context"
	"fmt"
	"io/fs"
	"slices"
	"sync"
	"weak"

	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/defaulting"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/listtype"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/objectmeta"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/pruning"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/validation"
	metavalidation "k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	celconfig "k8s.io/apiserver/pkg/apis/cel"
	"sigs.k8s.io/yaml"

	"github.com/packages-operator/packages-operator/api/v1alpha1"
	"github.com/packages-operator/packages-operator/config/crd"
)

// kindSchema checks objects of one kind with the definition that the cluster has,
// in the order in which the API server does.
type kindSchema struct {
	structural *schema.Structural
	values     validation.SchemaValidator
	rules      *cel.Validator
}

// schemas are those of every kind, by kind.
type schemas map[string]*kindSchema

// compiled are the schemas of the last load, until the memory is wanted: they take
// megabytes, and the next change of a file may be months away.
var compiled struct {
	sync.Mutex
	last weak.Pointer[schemas]
}

func loadSchemas() (*schemas, error) {
	compiled.Lock()
	defer compiled.Unlock()
	if last := compiled.last.Value(); last != nil {
		return last, nil
	}
	all, err := compileSchemas()
	if err != nil {
		return nil, fmt.Errorf("built-in definitions: %w", err)
	}
	compiled.last = weak.Make(&all)
	return &all, nil
}

func compileSchemas() (schemas, error) {
	names, err := fs.Glob(crd.Bases, "bases/*.yaml")
	if err != nil {
		return nil, err
	}
	byKind := schemas{}
	for _, name := range names {
		data, err := crd.Bases.ReadFile(name)
		if err != nil {
			return nil, err
		}
		var definition apiextensionsv1.CustomResourceDefinition
		if err := yaml.UnmarshalStrict(data, &definition); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		kind, err := compileSchema(&definition)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		byKind[definition.Spec.Names.Kind] = kind
	}
	return byKind, nil
}

func compileSchema(definition *apiextensionsv1.CustomResourceDefinition) (*kindSchema, error) {
	i := slices.IndexFunc(definition.Spec.Versions, func(v apiextensionsv1.CustomResourceDefinitionVersion) bool {
		return v.Name == v1alpha1.GroupVersion.Version
	})
	if i < 0 {
		return nil, fmt.Errorf("version %s is not defined", v1alpha1.GroupVersion.Version)
	}
	var internal apiextensions.CustomResourceValidation
	err := apiextensionsv1.Convert_v1_CustomResourceValidation_To_apiextensions_CustomResourceValidation(definition.Spec.Versions[i].Schema, &internal, nil)
	if err != nil {
		return nil, err
	}
	structural, err := schema.NewStructural(internal.OpenAPIV3Schema)
	if err != nil {
		return nil, err
	}
	if err := defaulting.PruneDefaults(structural); err != nil {
		return nil, err
	}
	values, _, err := validation.NewSchemaValidator(internal.OpenAPIV3Schema)
	if err != nil {
		return nil, err
	}
	return &kindSchema{
		structural: structural,
		values:     values,
		rules:      cel.NewValidator(structural, true, celconfig.PerCallLimit),
	}, nil
}

// admit applies defaults to a new object and returns what the API server would
// refuse it for. A status is dropped, as the API server does.
func (k *kindSchema) admit(object map[string]any) field.ErrorList {
	delete(object, "status")
	meta, _, unknown, err := objectmeta.GetObjectMetaWithOptions(object, objectmeta.ObjectMetaOptions{ReturnUnknownFieldPaths: true})
	if err != nil {
		return field.ErrorList{field.Invalid(field.NewPath("metadata"), field.OmitValueType{}, err.Error())}
	}
	unknown = append(unknown, pruning.PruneWithOptions(object, k.structural, true, schema.UnknownFieldPathOptions{TrackUnknownFieldPaths: true})...)
	if len(unknown) > 0 {
		return unknownFields(unknown)
	}
	defaulting.PruneNonNullableNullsWithoutDefaults(object, k.structural)
	defaulting.Default(object, k.structural)

	errs := metavalidation.ValidateObjectMeta(meta, true, metavalidation.NameIsDNSSubdomain, field.NewPath("metadata"))
	errs = append(errs, validation.ValidateCustomResource(nil, object, k.values)...)
	errs = append(errs, listtype.ValidateListSetsAndMaps(nil, k.structural, object)...)
	if blocked(errs) {
		return errs
	}
	broken, _ := k.rules.Validate(context.Background(), nil, k.structural, object, nil, celconfig.RuntimeCELCostBudget)
	return append(errs, broken...)
}

// blocked says whether rules cannot be evaluated on the object.
func blocked(errs field.ErrorList) bool {
	return slices.ContainsFunc(errs, func(e *field.Error) bool {
		switch e.Type {
		case field.ErrorTypeNotSupported, field.ErrorTypeRequired, field.ErrorTypeTooLong, field.ErrorTypeTooMany, field.ErrorTypeTypeInvalid:
			return true
		}
		return false
	})
}

func unknownFields(paths []string) field.ErrorList {
	slices.SortFunc(paths, cmp.Compare)
	var errs field.ErrorList
	for _, path := range slices.Compact(paths) {
		errs = append(errs, &field.Error{Type: field.ErrorTypeForbidden, Field: path, BadValue: field.OmitValueType{}, Detail: "there is no such field"})
	}
	return errs
}
