"""How good a map is.

Read `deletion` (curves of one map), `faithfulness` (many methods over many images), `localisation`
(against true masks), `robustness` (captum's two measures), `similarity` (of two maps), `report`
(figures and tables).
"""
