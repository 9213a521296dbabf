(function_definition declarator: [
  (function_declarator declarator: [(identifier) (field_identifier) (destructor_name) (operator_name)] @name)
  (pointer_declarator declarator: (function_declarator declarator: [(identifier) (field_identifier)] @name))
  (reference_declarator (function_declarator declarator: [(identifier) (field_identifier) (operator_name)] @name))
  ] body: (_) @body) @definition.function
(function_definition declarator: (function_declarator declarator: (qualified_identifier
  scope: (namespace_identifier) @parent name: [(identifier) (destructor_name) (operator_name)] @name)) body: (_) @body) @definition.method
(function_definition declarator: (_ (function_declarator declarator: (qualified_identifier
  scope: (namespace_identifier) @parent name: (identifier) @name))) body: (_) @body) @definition.method
(translation_unit (declaration declarator: (function_declarator declarator: (identifier) @name)) @definition.function)
(field_declaration declarator: [
  (function_declarator declarator: (field_identifier) @name)
  (pointer_declarator declarator: (function_declarator declarator: (field_identifier) @name))
  (reference_declarator (function_declarator declarator: (field_identifier) @name))]) @definition.method
(class_specifier name: (type_identifier) @name body: (_) @body) @definition.class
(struct_specifier name: (type_identifier) @name body: (_) @body) @definition.class
(union_specifier name: (type_identifier) @name body: (_) @body) @definition.class
(enum_specifier name: (type_identifier) @name body: (_) @body) @definition.enum
(enumerator name: (identifier) @name) @definition.field
(namespace_definition name: (namespace_identifier) @name body: (_) @body) @definition.module
(field_declaration declarator: [
  (field_identifier) @name
  (pointer_declarator declarator: (field_identifier) @name)
  (array_declarator declarator: (field_identifier) @name)
  (reference_declarator (field_identifier) @name)]) @definition.field
(type_definition declarator: (type_identifier) @name) @definition.type
(alias_declaration name: (type_identifier) @name) @definition.type
(preproc_def name: (identifier) @name) @definition.constant
(preproc_function_def name: (identifier) @name) @definition.macro
(preproc_include) @import
